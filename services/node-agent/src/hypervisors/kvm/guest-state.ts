/** What is told of a guest to the outside. */
import type { GuestState } from "@gannet/driver-contract";
import { processLives, processTimes } from "../process-identity.ts";
import type { KnownGuest } from "./known-guest.ts";

/** What a guest uses that has ended. */
const NOTHING_USED = { memoryMib: 0, vcpus: 0, uptimeSeconds: 0, cpuSeconds: 0 } as const;

export async function isAlive(known: KnownGuest): Promise<boolean> {
  return known.monitor !== undefined && (await processLives(known.monitor.process));
}

export async function stateOf(known: KnownGuest): Promise<GuestState> {
  const { name, uuid } = known.record.guest;
  const identity = { name, uuid, hypervisor: "kvm" } as const;
  if (known.monitor === undefined) return { ...identity, status: known.record.status, ...NOTHING_USED };
  const { status, memoryMib, vcpus, process, endStatus } = known.monitor;
  const times = await processTimes(process);
  if (times === undefined) return { ...identity, status: endStatus, ...NOTHING_USED };
  const { cpuSeconds, uptimeSeconds } = times;
  const { ranBeforeSeconds } = known.record;
  return { ...identity, status, memoryMib, vcpus, cpuSeconds, uptimeSeconds: ranBeforeSeconds + uptimeSeconds };
}
