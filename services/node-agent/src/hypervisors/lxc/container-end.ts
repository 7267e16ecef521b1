/**
 * How a container has ended, of what lxc logs at level INFO: how its init ended, unless it exited with 0, and
 * thereafter that the hook was run with which lxc takes the container down. Pure. Tried with lxc 5.0.2.
 */

/** Does nothing. It is run before lxc calls the container stopped; without it the log has nothing of an exit with 0. */
export const STOP_HOOK = "/bin/true";

/** The last line of a start. A container that restarts itself has several. */
const STARTED = /post_start:\d+ - Started "/;
const TAKEN_DOWN = `Executing script "${STOP_HOOK}" for container `;
const HOW = /Child <\d+> ended on (error|signal) (?:\w*)\(?(\d+)\)?/;
/** What the kernel ends a container's init by when it halts or powers off (reboot(2)). */
const HALTED = "2";

/**
 * By whom it ended: itself, when its init halted the system or exited with 0, as systemd does where it may not halt;
 * else it has crashed, was killed, or lxc was.
 */
export function containerEnd(log: string): "shutdown" | "crashed" {
  const lines = log.split("\n");
  const life = lines.slice(lines.findLastIndex((line) => STARTED.test(line)) + 1);
  if (!life.some((line) => line.includes(TAKEN_DOWN))) return "crashed";
  const [, what, number] = life.map((line) => HOW.exec(line)).find((match) => match !== null) ?? [];
  return what === undefined || (what === "signal" && number === HALTED) ? "shutdown" : "crashed";
}
