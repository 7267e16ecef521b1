/** What the program's exit code tells a script. */
import { exitCodeOf, HttpError } from "@gannet/errors";

export const EXIT = {
  done: 0,
  /** A job failed, or the cluster refused. */
  failed: 1,
  /** The command line is wrong; nothing was asked. */
  usage: 2,
  /** The cluster does not answer, or says that it cannot now. */
  unavailable: 3,
  /** The credentials are missing or wrong, or have not the right. */
  refused: 4,
  /** Ganeti's: a question was not answered with yes, or could not be asked. */
  unconfirmed: 13,
  /** Ganeti's: a list was asked for a field that there is not. */
  unknownField: 14,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

/** What each says, for help and documents. */
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.done, "done"],
  [EXIT.failed, "a job failed, or the cluster refused"],
  [EXIT.usage, "the command line is wrong; nothing was changed"],
  [EXIT.unavailable, "the cluster does not answer, or cannot be trusted to be the one"],
  [EXIT.refused, "the credentials are missing or wrong, or have not the right"],
  [EXIT.unconfirmed, "a question was not answered with yes, or nobody could be asked"],
  [EXIT.unknownField, "a list was asked for a field that there is not"],
  [EXIT.interrupted, "Ctrl-C while waiting; the job goes on"],
];

/** A question was not answered with yes. */
export class Unconfirmed extends Error {}

/** Ctrl-C while waiting. The message says what goes on. */
export class Interrupted extends Error {}

export function exitCodeFor(error: unknown): number {
  if (error instanceof Unconfirmed) return EXIT.unconfirmed;
  if (error instanceof Interrupted) return EXIT.interrupted;
  if (!(error instanceof HttpError)) return exitCodeOf(error);
  if (error.status === 401 || error.status === 403) return EXIT.refused;
  if (error.status === 503 || error.status === 504) return EXIT.unavailable;
  return EXIT.failed;
}
