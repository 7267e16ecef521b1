/** Structured logs: pino JSON in production, one readable line under `make run`. */
import { type DestinationStream, destination, type Logger as PinoLogger, pino, stdTimeFunctions } from "pino";

export type Logger = PinoLogger;

export interface LoggerOptions {
  /** The daemon's name on every line: `master`, `node1.gannet.test`. */
  readonly name: string;
  readonly level?: string;
  /** `json` (default) or `pretty`. */
  readonly format?: "json" | "pretty";
}

/** Paths whose values never reach a log. */
const SECRETS = [
  "password",
  "*.password",
  "osparams_private",
  "osparams_secret",
  "*.osparams_private",
  "*.osparams_secret",
  "headers.authorization",
  "*.authorization",
];

/** A daemon's logger. `child({ job, node })` puts the job and node on every line of an operation. */
export async function createLogger(options: LoggerOptions): Promise<Logger> {
  const stream: DestinationStream =
    options.format === "pretty"
      ? (await import("pino-pretty")).PinoPretty({
          colorize: process.stdout.isTTY,
          ignore: "pid,hostname",
          singleLine: true,
          destination: 1,
        })
      : destination({ dest: 1, sync: false });
  return pino(
    {
      name: options.name,
      level: options.level ?? "info",
      timestamp: stdTimeFunctions.isoTime,
      redact: { paths: SECRETS, censor: "<redacted>" },
    },
    stream,
  );
}

/** A logger that says nothing, for tests. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}
