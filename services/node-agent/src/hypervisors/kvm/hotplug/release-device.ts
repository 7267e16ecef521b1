/** Taking a device from a running guest, which has to let go of it. */
import { setTimeout as delay } from "node:timers/promises";
import { HypervisorError } from "@gannet/errors";
import type { GuestMonitor } from "../guest-monitor.ts";

/** Between looks where no event tells of the end. */
const LOOK_MS = 500;

/** A device that is no longer there tells so within milliseconds. */
const EVENT_LOST_MS = 2_000;

/** The ids of the devices that the guest has at present. */
export async function presentDevices(monitor: GuestMonitor): Promise<ReadonlySet<string>> {
  const found = await monitor.execute({ name: "qom-list", arguments: { path: "/machine/peripheral" } });
  return new Set(found.filter(({ type }) => type.startsWith("child<")).map(({ name }) => name));
}

/**
 * Ask the guest for the device and wait until it has let go. One that it has not is no error.
 * @throws HypervisorError when the guest refuses, or says nothing in time; it may let go later
 */
export async function releaseDevice(
  monitor: GuestMonitor,
  id: string,
  options: { readonly guestName: string; readonly limitMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const { guestName, limitMs, signal } = options;
  let isDeleted = false;
  let isRefused = false;
  let wake = new AbortController();
  const unsubscribe = monitor.onEvent((event) => {
    if (event.name !== "DEVICE_DELETED" && event.name !== "DEVICE_UNPLUG_GUEST_ERROR") return;
    if (event.data.device !== id) return;
    if (event.name === "DEVICE_DELETED") isDeleted = true;
    else isRefused = true;
    wake.abort();
  });
  try {
    if (!(await presentDevices(monitor)).has(id)) return;
    await monitor.execute({ name: "device_del", arguments: { id } });
    const deadline = performance.now() + limitMs;
    let absentSinceMs: number | undefined;
    for (;;) {
      if (isDeleted) return;
      const isAbsent = !(await presentDevices(monitor)).has(id);
      if (isAbsent) absentSinceMs ??= performance.now();
      // What is behind it is free only when the event has come, which is lost when the connection breaks.
      if (absentSinceMs !== undefined && performance.now() - absentSinceMs > EVENT_LOST_MS) return;
      if (isRefused) throw new HypervisorError(`Instance ${guestName} refuses to let go of its device ${id}`);
      if (signal.aborted) throw new HypervisorError(`Unplugging ${id} of ${guestName} was aborted; it may still go`);
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) {
        throw new HypervisorError(
          `Instance ${guestName} has not let go of its device ${id} within ${limitMs / 1000} s: ` +
            "it is in use there, or the guest does not know hotplug or has not booted yet",
        );
      }
      wake = new AbortController();
      await delay(Math.min(leftMs, LOOK_MS), undefined, { signal: wake.signal }).catch(() => {});
    }
  } finally {
    unsubscribe();
  }
}
