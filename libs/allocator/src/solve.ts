/** The built-in allocator: an answer to every request of the iallocator protocol, computed from its input alone. */
import { allocate, multiAllocate } from "./allocate.ts";
import { ClusterState } from "./cluster-state.ts";
import { changeGroup, nodeEvacuate } from "./evacuate.ts";
import type { AllocatorInput, AllocatorOutput } from "./protocol.ts";
import type { SoftErrors } from "./refusals.ts";
import { allocateSecondary, relocate } from "./relocate.ts";

export interface SolveOptions {
  /** `refuse` when left out. */
  readonly softErrors?: SoftErrors;
}

/** The same input always gives the same answer. */
export function solve(input: AllocatorInput, { softErrors = "refuse" }: SolveOptions = {}): AllocatorOutput {
  const state = new ClusterState(input);
  const { request } = input;
  switch (request.type) {
    case "allocate":
      return allocate(state, request, softErrors);
    case "multi-allocate":
      return multiAllocate(state, request.instances, softErrors);
    case "relocate":
      return relocate(state, request, softErrors);
    case "allocate-secondary":
      return allocateSecondary(state, request.name, softErrors);
    case "node-evacuate":
      return nodeEvacuate(state, request, softErrors);
    case "change-group":
      return changeGroup(state, request, softErrors);
  }
}
