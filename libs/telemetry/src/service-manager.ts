/**
 * What a daemon tells the service manager that started it: that it is ready, that its event loop turns, that it stops.
 *
 * systemd listens on a datagram socket (sd_notify(3)), which Node cannot speak. `deploy/systemd/notify-systemd` starts
 * the daemon with a pipe and passes on each line that comes out of it, so that a daemon runs no command for this.
 */
import { writeSync } from "node:fs";

export interface ServiceManager {
  /** The daemon serves, if only to say what it waits for. From the first time on it is told that the event loop turns. */
  ready(): void;
  /** The daemon has begun to stop. It is still told that the event loop turns: a stop may take its time. */
  stopping(): void;
}

/** Set by notify-systemd: the number of the pipe's descriptor. */
const PIPE_VARIABLE = "GANNET_NOTIFY_FD";
/** Set by systemd: after so many microseconds of silence it takes the daemon for hung (systemd.service(5)). */
const PATIENCE_VARIABLE = "WATCHDOG_USEC";
/** Of that time: two messages may be late before it counts. */
const SHARE_OF_PATIENCE = 1 / 3;

const NOBODY: ServiceManager = { ready() {}, stopping() {} };

/** Of this process; where it was started by something else, nobody is told anything. */
export function serviceManager(env: NodeJS.ProcessEnv = process.env): ServiceManager {
  const pipe = wholeNumber(env[PIPE_VARIABLE]);
  if (pipe === undefined) return NOBODY;
  const patienceUs = wholeNumber(env[PATIENCE_VARIABLE]);
  const tell = (state: string) => {
    try {
      writeSync(pipe, `${state}\n`);
    } catch {
      // Whoever passed it on is gone: then silence is what the manager acts on.
    }
  };
  let isReady = false;
  return {
    ready() {
      if (isReady) return;
      isReady = true;
      tell("READY=1");
      if (patienceUs !== undefined) setInterval(tell, (patienceUs / 1000) * SHARE_OF_PATIENCE, "WATCHDOG=1").unref();
    },
    stopping: () => tell("STOPPING=1"),
  };
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
}
