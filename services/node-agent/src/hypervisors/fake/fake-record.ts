/** What the fake hypervisor keeps of a guest, and what is seen of it. */
import type { GuestSpec, GuestState } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { z } from "zod";
import { guestSpecSchema } from "../guest-spec-schema.ts";

export const fakeRecord = z.object({
  version: z.literal(1),
  guest: guestSpecSchema,
  paused: z.boolean(),
  /** Milliseconds since 1970; on the node where it was started. */
  startedAtMs: z.int(),
  /** When the guest crashes or has crashed, in milliseconds since 1970; null for never. */
  crashesAtMs: z.int().nullable(),
  /** `incoming`: another node sends it here, on this port. `sent`: it has all been sent to another one. */
  migration: z
    .discriminatedUnion("phase", [
      z.object({ phase: z.literal("incoming"), port: z.int() }),
      z.object({ phase: z.literal("sent") }),
    ])
    .nullable()
    .default(null),
});
export type FakeRecord = z.output<typeof fakeRecord>;

/** There is no network between fake hypervisors: what the target must have of the guest is in the info. */
const migrationInfo = z.strictObject({
  version: z.literal(1),
  guest: guestSpecSchema,
  paused: z.boolean(),
  startedAtMs: z.int(),
});

export function writeInfo({ guest, paused, startedAtMs }: FakeRecord): string {
  const info: z.output<typeof migrationInfo> = { version: 1, guest, paused, startedAtMs };
  return JSON.stringify(info);
}

/**
 * The guest as it will be here: its devices as the configuration has them, the rest as at its source.
 * @throws HypervisorError when the text is none, or another guest's
 */
export function incomingRecord(asked: GuestSpec, text: string, port: number): FakeRecord {
  const { guest, paused, startedAtMs } = readInfo(asked.name, text);
  if (guest.name !== asked.name || guest.uuid !== asked.uuid)
    throw new HypervisorError(`Instance ${asked.name} (${asked.uuid}): the source would send ${guest.name}`);
  const { maxMemoryMib, startMemoryMib, vcpus } = guest;
  return {
    version: 1,
    guest: { ...asked, maxMemoryMib, startMemoryMib, vcpus },
    paused,
    startedAtMs,
    crashesAtMs: null,
    migration: { phase: "incoming", port },
  };
}

function readInfo(guestName: string, text: string) {
  try {
    return migrationInfo.parse(JSON.parse(text));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HypervisorError(`Instance ${guestName}: what its source tells of it cannot be read: ${reason}`, {
      cause: error,
    });
  }
}

export function hasCrashed({ crashesAtMs }: FakeRecord): boolean {
  return crashesAtMs !== null && crashesAtMs <= Date.now();
}

/** A guest that is still to come is not here for anybody but the migration. */
export function isHere({ migration }: FakeRecord): boolean {
  return migration?.phase !== "incoming";
}

/** A simulated guest uses no processor; one that has crashed uses nothing at all, as with real hypervisors. */
export function stateOf(record: FakeRecord): GuestState {
  const { name, uuid, startMemoryMib, vcpus } = record.guest;
  const identity = { name, uuid, hypervisor: "fake", cpuSeconds: 0 } as const;
  if (hasCrashed(record)) return { ...identity, status: "crashed", memoryMib: 0, vcpus: 0, uptimeSeconds: 0 };
  const uptimeSeconds = Math.max(0, (Date.now() - record.startedAtMs) / 1000);
  return {
    ...identity,
    status: record.paused || record.migration !== null ? "paused" : "running",
    memoryMib: startMemoryMib,
    vcpus,
    uptimeSeconds,
  };
}
