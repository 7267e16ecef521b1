/** A command as people read it in logs and errors. It is never parsed or run from this form. */
import type { Command } from "./command-runner-contract.ts";

const MASK = "***";
/** Longer command lines are cut in messages; qemu's reach some kilobytes. */
const LINE_LIMIT = 2000;

/** The argv joined as a shell would take it, secrets masked. */
export function formatCommand(command: Pick<Command, "argv" | "secretArgs">): string {
  const secret = new Set(command.secretArgs);
  const line = command.argv.map((arg, index) => (secret.has(index) ? MASK : quote(arg))).join(" ");
  return line.length > LINE_LIMIT ? `${line.slice(0, LINE_LIMIT)}…` : line;
}

/** Text printed by a command, with the values of its secret arguments masked. */
export function maskSecrets(command: Pick<Command, "argv" | "secretArgs">, text: string): string {
  return (command.secretArgs ?? [])
    .map((index) => command.argv[index] ?? "")
    .filter((value) => value !== "")
    .reduce((masked, value) => masked.replaceAll(value, MASK), text);
}

function quote(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`;
}
