/** What a simulated Xen remembers: the domains of one node. */
import { existsSync } from "node:fs";
import path from "node:path";
import { readJsonFile, withNodeLock, writeJsonFile } from "../node-lock.ts";

export interface SimulatedDomain {
  name: string;
  id: number;
  readonly uuid: string;
  memoryMib: number;
  readonly maxMemoryMib: number;
  readonly vcpus: number;
  /** As `xl list` shows them. */
  flags: string;
  /** The text it was made from. */
  config: string;
  startedAtMs: number;
}

export interface XenState {
  nextId: number;
  domains: SimulatedDomain[];
}

/** Memory of the machine, and of domain 0, in MiB. */
export const MACHINE_MIB = 65_536;
export const NODE_MIB = 768;

export const FLAGS = {
  running: "-b----",
  paused: "--p---",
  suspended: "---ss-",
  off: "---s--",
  crashed: "---sc-",
} as const;

/** Look at the domains, or change them: what `work` leaves in the state is written. */
export function withXen<Result>(nodeFolder: string, work: (state: XenState) => Result): Promise<Result> {
  const file = path.join(nodeFolder, "xen.json");
  return withNodeLock(nodeFolder, "xen", () => {
    const state: XenState = existsSync(file) ? readJsonFile(file) : { nextId: 1, domains: [] };
    const before = JSON.stringify(state);
    const result = work(state);
    if (JSON.stringify(state) !== before) writeJsonFile(file, state);
    return result;
  });
}

export function freeMib({ domains }: XenState): number {
  return MACHINE_MIB - NODE_MIB - domains.reduce((sum, { memoryMib }) => sum + memoryMib, 0);
}

/** End a domain as a crash of the whole of it would: nothing is left. */
export async function crashDomain(nodeFolder: string, name: string): Promise<void> {
  await withXen(nodeFolder, (state) => {
    state.domains = state.domains.filter((domain) => domain.name !== name);
  });
}

/** The guest shuts itself down, in order or not; what Xen does then is in its configuration, here as Gannet has it. */
export async function endGuest(nodeFolder: string, name: string, how: "off" | "crashed"): Promise<void> {
  await withXen(nodeFolder, (state) => {
    for (const domain of state.domains) if (domain.name === name) domain.flags = FLAGS[how];
  });
}

/** The guest restarts itself. */
export async function restartGuest(nodeFolder: string, name: string): Promise<void> {
  await withXen(nodeFolder, (state) => {
    for (const domain of state.domains) if (domain.name === name) boot(state, domain);
  });
}

/** Under a new number. */
export function boot(state: XenState, domain: SimulatedDomain): void {
  domain.id = state.nextId++;
  domain.flags = FLAGS.running;
  domain.startedAtMs = Date.now();
}
