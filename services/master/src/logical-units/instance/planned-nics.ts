/** The NICs of a new instance: the opcode's list checked against the cluster, its networks and their addresses. Pure. */
import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, MAX_NICS, type Node } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import { changedNic, checkMacs, type NicDraft, writtenNics } from "./changed-nics.ts";

type AskedNic = Op<typeof InstanceCreate>["nics"][number];

export interface PlannedNics {
  readonly drafts: readonly NicDraft[];
  /** Whether addresses that are kept for others may be taken. */
  readonly external: "refused" | "taken";
}

/**
 * @param primary - the node that the instance will be on: its group's networks are those that can be used
 * @throws OpPrereqError or ConfigurationError, naming the NIC
 */
export function plannedNics(
  asked: readonly AskedNic[],
  view: ConfigView,
  { primary, conflictsCheck }: { readonly primary: Node; readonly conflictsCheck: boolean },
): PlannedNics {
  if (asked.length > MAX_NICS)
    throw new OpPrereqError(`${asked.length} NICs were given; the most is ${MAX_NICS}`, "wrong_input");
  const context = { view, primary, conflictsCheck };
  const drafts = asked.map((nic, index) => changedNic(context, undefined, nic, `NIC ${index}`));
  const nics: PlannedNics = { drafts, external: conflictsCheck ? "refused" : "taken" };
  checkMacs(view, NO_NICS, drafts);
  // What cannot be drawn is told before anything is done.
  writtenNics(view, NO_NICS, nics);
  return nics;
}

/** What a new instance has had. */
export const NO_NICS = { nics: [] };
