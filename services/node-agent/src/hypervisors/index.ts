/** The hypervisors of this node: which driver serves each. */
import type { HypervisorDriver } from "@gannet/driver-contract";
import type { HypervisorName } from "@gannet/objects";
import { ChrootBackend } from "./chroot/chroot-backend.ts";
import { ContainerHypervisor } from "./container/container-hypervisor.ts";
import { FakeHypervisor } from "./fake/fake-hypervisor.ts";
import type { HypervisorParts } from "./hypervisor-parts.ts";
import { KvmHypervisor } from "./kvm/kvm-hypervisor.ts";
import { LxcBackend } from "./lxc/lxc-backend.ts";
import { XenHypervisor } from "./xen/xen-hypervisor.ts";

export type { HypervisorOptions, HypervisorParts } from "./hypervisor-parts.ts";
export type { KvmAcceleration } from "./kvm/acceleration.ts";

export const HYPERVISOR_DRIVERS: Readonly<Record<HypervisorName, (parts: HypervisorParts) => HypervisorDriver>> = {
  chroot: (parts) => new ContainerHypervisor(new ChrootBackend(parts.runner), parts),
  fake: (parts) => new FakeHypervisor(parts),
  kvm: (parts) => new KvmHypervisor(parts),
  lxc: (parts) => new ContainerHypervisor(new LxcBackend(parts), parts),
  "xen-hvm": (parts) => new XenHypervisor("xen-hvm", parts),
  "xen-pvm": (parts) => new XenHypervisor("xen-pvm", parts),
};
