/** Names of guests become names of files, sockets and arguments; this is the one check before they do. */
import { GannetError, HypervisorError } from "@gannet/errors";
import { normalizeHostName } from "@gannet/objects";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws HypervisorError when it is no host name in its one form */
export function checkGuestName(name: string): void {
  try {
    if (normalizeHostName(name) === name) return;
  } catch (error) {
    if (!(error instanceof GannetError)) throw error;
  }
  throw new HypervisorError(`${JSON.stringify(name.slice(0, 300))} is not the name of an instance`);
}

/** @throws HypervisorError when it is no UUID in lower case; `what` names its owner in the message */
export function checkUuid(uuid: string, what: string): void {
  if (!UUID.test(uuid)) throw new HypervisorError(`${what} has ${JSON.stringify(uuid)} for a UUID`);
}
