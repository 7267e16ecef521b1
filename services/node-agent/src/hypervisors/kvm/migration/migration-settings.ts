/** How a guest's migrations are to go, from its parameters. */
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { KVM_MIGRATION_CAPABILITIES, type MigrationCapabilityUse, migrationCapabilityNames } from "@gannet/objects";
import { z } from "zod";
import type { GuestMonitor } from "../guest-monitor.ts";
import type { MigrationParameters } from "../qmp/commands.ts";

const parameters = z.object({
  migration_bandwidth: z.int().nonnegative(),
  migration_caps: z.string(),
  migration_downtime: z.int().nonnegative(),
  migration_port: z.int().min(1).max(65535),
});

export interface MigrationSettings {
  /** Bounds on the sender. */
  readonly limits: MigrationParameters;
  /** Those of qemu's capabilities that shall be on. Both sides must have the same. */
  readonly capabilities: readonly string[];
  /** Those that are asked for and stay off in every migration. */
  readonly unused: readonly string[];
  /** Where the target begins to look for a free port. */
  readonly firstPort: number;
}

export const POSTCOPY = "postcopy-ram";
/**
 * Always on: `events`, so that the end is noticed at once; `auto-converge`, so that there is an end: a guest that
 * dirties its memory faster than it can be sent is slowed down; `return-path`, so that the source does not take for
 * completed what the target has not read: in TLS 1.3 a sender hears only after its last byte that it was refused.
 */
const ALWAYS = withUse(Object.keys(KVM_MIGRATION_CAPABILITIES), "always");
/** Without these a migration would be another; the others only save time or memory. */
const NEEDED: readonly string[] = [...ALWAYS, POSTCOPY];
const BYTES_PER_MIB = 1024 * 1024;
/** With 0, qemu 7.2 stops the guest after the first pass, however much has changed meanwhile. */
const SHORTEST_DOWNTIME_MS = 1;
/** qemu 7.2 takes 0 for no bandwidth at all; this is a petabyte a second. */
const UNLIMITED = 2 ** 50;

/** @throws HypervisorError naming the parameter */
export function migrationSettings(guest: GuestSpec): MigrationSettings {
  const parsed = parameters.safeParse(guest.hvparams);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new HypervisorError(`Instance ${guest.name} cannot be migrated: ${problems.join("; ")}`);
  }
  const { migration_bandwidth, migration_caps, migration_downtime, migration_port } = parsed.data;
  const asked = migrationCapabilityNames(migration_caps);
  const strange = asked.filter((name) => !Object.hasOwn(KVM_MIGRATION_CAPABILITIES, name));
  if (strange.length > 0) throw new HypervisorError(`migration_caps: qemu knows no ${strange.join(", ")}`);
  const bandwidth = migration_bandwidth === 0 ? UNLIMITED : migration_bandwidth * BYTES_PER_MIB;
  return {
    limits: {
      "max-bandwidth": bandwidth,
      "max-postcopy-bandwidth": bandwidth,
      "downtime-limit": Math.max(SHORTEST_DOWNTIME_MS, migration_downtime),
    },
    capabilities: [...new Set([...ALWAYS, ...withUse(asked, "choosable")])],
    unused: withUse(asked, "unused"),
    firstPort: migration_port,
  };
}

function withUse(names: readonly string[], use: MigrationCapabilityUse): readonly string[] {
  return names.filter((name) => KVM_MIGRATION_CAPABILITIES[name] === use);
}

/**
 * Switch the capabilities of a guest's migration on in its qemu, and all others off.
 * @returns those that were asked for and stay off
 * @throws HypervisorError when it lacks one that is needed
 */
export async function setCapabilities(
  monitor: Pick<GuestMonitor, "execute">,
  { capabilities: wanted, unused }: Pick<MigrationSettings, "capabilities" | "unused">,
): Promise<readonly string[]> {
  const known = await monitor.execute({ name: "query-migrate-capabilities" });
  const missing = wanted.filter((name) => known.every(({ capability }) => capability !== name));
  const needed = missing.filter((name) => NEEDED.includes(name));
  if (needed.length > 0) throw new HypervisorError(`This qemu does not know the capability ${needed.join(", ")}`);
  const changes = known
    .map(({ capability, state }) => ({ capability, before: state, state: wanted.includes(capability) }))
    .filter(({ before, state }) => before !== state)
    .map(({ capability, state }) => ({ capability, state }));
  if (changes.length > 0)
    await monitor.execute({ name: "migrate-set-capabilities", arguments: { capabilities: changes } });
  return [...unused, ...missing];
}
