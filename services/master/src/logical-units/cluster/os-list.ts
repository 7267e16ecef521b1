/** Changes of the lists of hidden and of blacklisted OSes. */
import { OpPrereqError } from "@gannet/errors";
import { parseOsName } from "@gannet/objects";
import type { ClusterSetParams, Op } from "@gannet/opcodes";

type OsListChange = NonNullable<Op<typeof ClusterSetParams>["hidden_os"]>[number];

/**
 * The list after the changes, in order, with what was there already, or was not, in words.
 * @throws OpPrereqError (wrong_input)
 */
export function changedOsList(
  current: readonly string[],
  changes: readonly OsListChange[],
  parameter: string,
): { readonly names: string[]; readonly notes: readonly string[] } {
  const names = [...current];
  const notes: string[] = [];
  for (const [what, os] of changes) {
    const { name, variant } = parseOsName(os);
    const full = variant === null ? name : `${name}+${variant}`;
    const position = names.indexOf(full);
    if (what !== "add" && what !== "remove")
      throw new OpPrereqError(`${parameter}: an OS is added or removed, not '${what}'`, "wrong_input");
    if ((what === "add") === position >= 0)
      notes.push(`OS ${full} ${what === "add" ? "is already" : "is not"} in ${parameter}, ignoring`);
    else if (what === "add") names.push(full);
    else names.splice(position, 1);
  }
  return { names, notes };
}
