/** The end of every guest of this node, whatever it does, and of the use of its mirrored disks. */
import { type BlockDeviceDriver, canBlockDevice, type HypervisorDriver } from "@gannet/driver-contract";
import type { Logger } from "@gannet/telemetry";

/** What this node's guests consist of. */
export interface GuestDrivers {
  readonly hypervisors: readonly HypervisorDriver[];
  readonly blockDevices: readonly BlockDeviceDriver[];
}

/**
 * The leader counts on their end, and what has cut the node off may have taken their disks along: they get less time than
 * those that somebody stops.
 */
const KILL_GRACE_MS = 5_000;

/**
 * Kill all guests, those that are found afterwards, too.
 * @returns whether none is left; what could not be stopped or looked at is in the log
 */
export async function stopAllGuests(
  { hypervisors, blockDevices }: GuestDrivers,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<boolean> {
  const stopped = hypervisors.map(async (driver) => {
    try {
      const guests = await driver.list();
      const ends = guests.map(async ({ name }) => {
        logger.warn({ instance: name }, "no leader has renewed this node's lease: its guest is killed");
        await driver.stop(name, { force: true, timeoutMs: 0, killGraceMs: KILL_GRACE_MS }, signal);
      });
      for (const end of await Promise.allSettled(ends))
        if (end.status === "rejected") logger.error({ err: end.reason }, "a guest could not be killed");
      return (await driver.list()).length === 0;
    } catch (error) {
      logger.error({ hypervisor: driver.name, err: error }, "guests cannot be listed");
      return false;
    }
  });
  if ((await Promise.all(stopped)).includes(false)) return false;
  for (const driver of blockDevices)
    if (canBlockDevice(driver, "mirrorStatus"))
      // Without it the guests do not run either; it is only harder to start them elsewhere.
      await driver
        .demoteAll(signal)
        .catch((error: unknown) => logger.error({ err: error }, "mirrored disks could not be demoted"));
  return true;
}
