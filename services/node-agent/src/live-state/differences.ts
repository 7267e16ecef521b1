/** What is worth telling of a change. Values that always move would make every look a change. */
import { isDeepStrictEqual } from "node:util";
import type { GuestState } from "@gannet/driver-contract";
import type { NodeState } from "@gannet/rpc";

/** A guest's used time and age are told with its other changes, and when they are this much older. */
const TIMES_STALE_SECONDS = 60;
/** Free memory and space move all the time; less than this, in MiB, is told with the next change. */
const NOTICEABLE_MIB = 16;

export function isGuestNews(known: GuestState & { readonly asOfMs: number }, now: GuestState): boolean {
  const { uptimeSeconds: knownUptime, cpuSeconds: _knownCpu, asOfMs: _asOf, ...knownRest } = known;
  const { uptimeSeconds, cpuSeconds: _cpu, ...rest } = now;
  return (
    !isDeepStrictEqual(knownRest, rest) ||
    uptimeSeconds < knownUptime ||
    uptimeSeconds - knownUptime >= TIMES_STALE_SECONDS
  );
}

export function isNodeNews(known: NodeState | undefined, now: NodeState): boolean {
  return known === undefined || !isDeepStrictEqual(rounded(known), rounded(now, known));
}

/** Without the clock, and with small moves of what moves always taken back to what is known. */
function rounded(node: NodeState, known: NodeState = node): NodeState {
  const near = (value: number, before: number) => (Math.abs(value - before) < NOTICEABLE_MIB ? before : value);
  return {
    ...node,
    clockMs: 0,
    memoryFreeMib: near(node.memoryFreeMib, known.memoryFreeMib),
    memoryNodeMib: near(node.memoryNodeMib, known.memoryNodeMib),
    storage: node.storage.map((space) => {
      const before = known.storage.find(({ type, name }) => type === space.type && name === space.name) ?? space;
      return { ...space, freeMib: near(space.freeMib, before.freeMib) };
    }),
  };
}
