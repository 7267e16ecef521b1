/** Questions before what cannot be taken back. */
import { Unconfirmed } from "./exit-codes.ts";
import type { Gathered } from "./options/option-spec.ts";
import type { Terminal } from "./terminal.ts";

/** What each command that needs a yes would do; `{}` stands for what it is done to. */
const QUESTIONS: Readonly<Record<string, string>> = {
  "backup remove": "Remove the exports of {}?",
  "cluster epo": "Do this with the instances and the power of {}?",
  "cluster destroy": "Destroy the cluster? Its configuration is gone afterwards.",
  "cluster rename": "Rename the cluster to {}? Its address moves with the name.",
  "cluster renew-crypto": "Renew the cluster's certificates and keys?",
  "cluster master-failover": "Make another machine the master?",
  "group evacuate": "Move all instances out of the group {}?",
  "group remove": "Remove the node group {}?",
  "filter delete": "Remove the job filter {}?",
  "instance failover": "Stop {} and start it on its other node?",
  "instance migrate": "Migrate {} to its other node?",
  "instance move": "Stop {} and copy its disks to another node?",
  "instance recreate-disks": "Make the disks of {} again, empty? What is on them is lost.",
  "instance reinstall": "Install {} again? What is on its disks is lost.",
  "instance remove": "Remove {} with its disks? What is on them is lost.",
  "instance rename": "Rename {}?",
  "job cancel --pending": "Cancel the jobs {}?",
  "network remove": "Remove the network {}?",
  "node evacuate": "Move instances off the node {}?",
  "node failover": "Stop {} and start them on their other nodes?",
  "node migrate": "Migrate all instances that run on {}?",
  "node power": "Do this with the power of these nodes: {}?",
  "node powercycle": "Reboot the node {} at once, whatever runs on it?",
  "node quiesce": "Stop all guests of {} and take down its ends of DRBD disks?",
  "node remove": "Remove the node {} from the cluster?",
  "token remove": "Revoke the token {}?",
};
/** Commands that ask where they are for more than one instance. */
const ASK_FOR_MANY: ReadonlySet<string> = new Set(["instance reboot", "instance shutdown"]);
/** Forms of such a command that take nothing away. */
const HARMLESS: Readonly<Record<string, (gathered: Gathered) => boolean>> = {
  "cluster epo": ({ control: { on } }) => on === true,
  "node power": ({ params: { command } }) => ["health", "power-on", "power-status"].includes(String(command)),
  "instance failover": ({ params: { cleanup } }) => cleanup === true,
  "instance migrate": ({ params: { cleanup } }) => cleanup === true,
};

/** Whether a command may ask before it does something. */
export function mayAsk(command: string): boolean {
  return Object.hasOwn(QUESTIONS, command) || ASK_FOR_MANY.has(command);
}

/**
 * Ask, where the command needs it and neither `--force` nor `--yes` nor a dry run makes it needless.
 * @param objects what it is done to
 * @throws Unconfirmed when the answer is not yes, or when nobody can be asked
 */
export async function confirm(
  command: string,
  objects: readonly string[],
  gathered: Gathered,
  terminal: Terminal,
): Promise<void> {
  const { params, control } = gathered;
  const question = questionFor(command, objects);
  if (question === undefined || HARMLESS[command]?.(gathered)) return;
  if (params.force === true || params.dry_run === true || control.yes === true) return;
  if (!terminal.isInteractive)
    throw new Unconfirmed(`${question} Nobody can be asked here: say --yes if that is what you want`);
  const answer = (await terminal.ask(`${question} [y/N] `)).trim().toLowerCase();
  if (answer !== "y" && answer !== "yes") throw new Unconfirmed("Nothing was done");
}

function questionFor(command: string, objects: readonly string[]): string | undefined {
  const names = objects.length === 0 ? "it" : objects.join(", ");
  if (Object.hasOwn(QUESTIONS, command)) return QUESTIONS[command]?.replace("{}", names);
  if (ASK_FOR_MANY.has(command) && objects.length > 1)
    return `This concerns ${objects.length} instances: ${names}. Go on?`;
  return undefined;
}
