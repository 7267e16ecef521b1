/** The hypervisors of this node: which driver serves each. */
import type { HypervisorDriver } from "@gannet/driver-contract";
import type { HypervisorName } from "@gannet/objects";
import { FakeHypervisor } from "./fake/fake-hypervisor.ts";
import type { HypervisorParts } from "./hypervisor-parts.ts";
import { KvmHypervisor } from "./kvm/kvm-hypervisor.ts";

export type { HypervisorOptions, HypervisorParts } from "./hypervisor-parts.ts";
export type { KvmAcceleration } from "./kvm/acceleration.ts";

/** A hypervisor that is absent has no driver yet. */
export const HYPERVISOR_DRIVERS = {
  fake: (parts) => new FakeHypervisor(parts),
  kvm: (parts) => new KvmHypervisor(parts),
} as const satisfies Partial<Record<HypervisorName, (parts: HypervisorParts) => HypervisorDriver>>;
