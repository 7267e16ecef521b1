/** Changing the memory of a running guest by its balloon. */
import { setTimeout as delay } from "node:timers/promises";
import { HypervisorError } from "@gannet/errors";
import type { GuestMonitor } from "../guest-monitor.ts";
import type { GuestRegister } from "../known-guest.ts";

const BYTES_PER_MIB = 1024 * 1024;
/** A guest under memory pressure gives back some hundred MiB a second. */
const REACH_MS = 30_000;
const LOOK_MS = 100;
/** Less than this no kernel runs in. */
const LEAST_MIB = 16;

/**
 * Resolves when the guest has given back, or taken, what it was asked to; a reboot keeps it.
 * @throws HypervisorError when the size is out of bounds, or the guest does not go there: it tells how far it went, and
 *   asks no more of the guest than that
 */
export async function setMemory(
  register: GuestRegister,
  guestName: string,
  memoryMib: number,
  options: { readonly signal: AbortSignal; readonly reachMs?: number },
): Promise<void> {
  const { record, monitor } = await register.running(guestName);
  const { maxMemoryMib } = record.guest;
  if (memoryMib < LEAST_MIB || memoryMib > maxMemoryMib) {
    throw new HypervisorError(
      `Instance ${guestName} takes between ${LEAST_MIB} and ${maxMemoryMib} MiB of memory, not ${memoryMib}`,
    );
  }
  if (record.leaving !== undefined)
    throw new HypervisorError(`Instance ${guestName} is being migrated; its memory cannot be changed now`);
  await inflate(monitor, memoryMib);
  const reachMs = options.reachMs ?? REACH_MS;
  const reachedMib = await reached(monitor, memoryMib, reachMs, options.signal);
  if (reachedMib !== memoryMib) {
    await inflate(monitor, reachedMib);
    throw new HypervisorError(
      options.signal.aborted
        ? `Changing the memory of ${guestName} was aborted at ${reachedMib} MiB`
        : `Instance ${guestName} has ${reachedMib} MiB after ${reachMs / 1000} s and not the ${memoryMib} MiB it was ` +
            "asked for; has it a driver for its virtio balloon, and memory to spare?",
    );
  }
  await register.keep({ record: { ...record, guest: { ...record.guest, startMemoryMib: memoryMib } }, monitor });
  await monitor.refreshAll();
}

function inflate(monitor: GuestMonitor, memoryMib: number): Promise<void> {
  return monitor.execute({ name: "balloon", arguments: { value: memoryMib * BYTES_PER_MIB } });
}

/** What the guest has when it is as much as is wanted, or the time is over. */
async function reached(
  monitor: GuestMonitor,
  wantedMib: number,
  limitMs: number,
  signal: AbortSignal,
): Promise<number> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const { actual } = await monitor.execute({ name: "query-balloon" });
    const actualMib = Math.round(actual / BYTES_PER_MIB);
    if (actualMib === wantedMib || performance.now() >= deadline || signal.aborted) return actualMib;
    await delay(LOOK_MS, undefined, { signal }).catch(() => {});
  }
}
