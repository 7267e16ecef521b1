/**
 * The way of an instance from its nodes to others, as failovers and replacements of its secondary (hbal(1),
 * "algorithm"), and as the opcodes that carry them out.
 */
import { type ClusterState, NOWHERE, type Placement } from "./cluster-state.ts";
import type { AllocatorOpcode } from "./protocol.ts";
import type { Refusal, SoftErrors } from "./refusals.ts";
import { migrates } from "./site-tags.ts";
import type { SizedInstance } from "./sized-instance.ts";

export type MoveStep =
  /** To the secondary, which it changes places with. */
  | { readonly kind: "failover"; readonly from: number; readonly to: number }
  /** Of an instance whose storage every node sees. */
  | { readonly kind: "move"; readonly from: number; readonly to: number }
  | { readonly kind: "replace-secondary"; readonly primary: number; readonly to: number };

/** The steps in order; none when the instance stays. Or why there is no way. */
export type Way = { readonly steps: readonly MoveStep[] } | { readonly refusal: Refusal };

/** `f` changes places; a number is a new secondary. */
type Sketch = readonly ("f" | number)[];

/**
 * @param instance - nowhere in the state; it was at `from` and can stay at `to`
 */
export function wayBetween(
  state: ClusterState,
  instance: SizedInstance,
  { from, to, softErrors }: { readonly from: Placement; readonly to: Placement; readonly softErrors: SoftErrors },
): Way {
  if (instance.mirroring === "external") {
    if (to.primary === from.primary) return { steps: [] };
    const refusal = migrationRefusal(state, from.primary, to.primary, softErrors);
    return refusal === undefined ? { steps: [{ kind: "move", from: from.primary, to: to.primary }] } : { refusal };
  }
  const ways = sketches(from, to).map((sketch) => drawn(state, instance, { from, sketch, softErrors }));
  return ways.find((way) => "steps" in way) ?? ways[0] ?? { refusal: "FailOffline" };
}

/** Ways by what changes, the quickest first. The other order serves where the primary cannot be read. */
function sketches(from: Placement, to: Placement): readonly Sketch[] {
  const { primary, secondary } = to;
  if (primary === from.primary) return [secondary === from.secondary ? [] : [secondary]];
  if (primary === from.secondary) return [secondary === from.primary ? ["f"] : ["f", secondary]];
  if (secondary === from.primary) return [[primary, "f"]];
  if (secondary === from.secondary) return [["f", primary, "f"]];
  return [
    [primary, "f", secondary],
    ["f", primary, "f", secondary],
  ];
}

function drawn(
  state: ClusterState,
  instance: SizedInstance,
  { from, sketch, softErrors }: { readonly from: Placement; readonly sketch: Sketch; readonly softErrors: SoftErrors },
): Way {
  const steps: MoveStep[] = [];
  let { primary, secondary } = from;
  for (const change of sketch) {
    if (change === "f") {
      const refusal = failoverRefusal(state, instance, { from: primary, to: secondary, softErrors });
      if (refusal !== undefined) return { refusal };
      steps.push({ kind: "failover", from: primary, to: secondary });
      [primary, secondary] = [secondary, primary];
    } else {
      if (!state.node(primary).reachable) return { refusal: "FailOffline" };
      steps.push({ kind: "replace-secondary", primary, to: change });
      secondary = change;
    }
  }
  return { steps };
}

/** For as long as the way lasts, the node in between needs the memory too. */
function failoverRefusal(
  state: ClusterState,
  instance: SizedInstance,
  { from, to, softErrors }: { readonly from: number; readonly to: number; readonly softErrors: SoftErrors },
): Refusal | undefined {
  if (to === NOWHERE || !state.node(to).usable) return "FailOffline";
  if (state.useOf(to).freeMemoryMib < instance.memoryMib) return "FailMem";
  return migrationRefusal(state, from, to, softErrors);
}

/** A guest of a node that is gone starts anew, which any node can do. */
function migrationRefusal(state: ClusterState, from: number, to: number, softErrors: SoftErrors): Refusal | undefined {
  const source = state.node(from);
  if (softErrors === "ignore" || !source.reachable) return undefined;
  return migrates(source, state.node(to)) ? undefined : "FailMig";
}

/** The opcodes of one instance's job. */
export function opcodesOf(
  state: ClusterState,
  instance: string,
  steps: readonly MoveStep[],
): readonly AllocatorOpcode[] {
  return steps.map((step) => {
    const to = state.node(step.to).name;
    if (step.kind === "replace-secondary")
      return {
        OP_ID: "OP_INSTANCE_REPLACE_DISKS",
        instance_name: instance,
        mode: "replace_new_secondary",
        remote_node: to,
        disks: [],
        early_release: false,
        ignore_ipolicy: false,
      };
    const target = step.kind === "move" ? { target_node: to } : {};
    if (!state.node(step.from).reachable)
      return { OP_ID: "OP_INSTANCE_FAILOVER", instance_name: instance, ...target, ignore_consistency: false };
    return {
      OP_ID: "OP_INSTANCE_MIGRATE",
      instance_name: instance,
      ...target,
      allow_failover: true,
      allow_runtime_changes: false,
      ignore_hvversions: true,
    };
  });
}
