/** What every hypervisor driver is made from. */
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import type { NetworkTools } from "../nics/network-tools.ts";
import type { KvmAcceleration } from "./kvm/acceleration.ts";
import type { SpiceCertificate } from "./kvm/launch-plan.ts";
import type { LxcOptions } from "./lxc/lxc-options.ts";
import type { XenOptions } from "./xen/xen-options.ts";

/** Settings of the agent that concern hypervisors. */
export interface HypervisorOptions {
  /** Whether kvm guests without an explicit `kvm_flag` run under KVM. Default `auto`: where it is proven to work. */
  readonly kvmAcceleration?: KvmAcceleration;
  /** Holds this node's ca.pem, cert.pem and key.pem (libs/pki), with which guests are migrated. */
  readonly pkiDir?: string;
  /** This node's name, as in its certificate. Without both, Xen's guests cannot be migrated. */
  readonly nodeName?: string;
  /** Default: where Debian and Ganeti have Xen's parts. */
  readonly xen?: XenOptions;
  /** Default: the system's. */
  readonly lxc?: LxcOptions;
  /** The qemu that `describe` tells of; guests name theirs in `kvm_path`. Default /usr/bin/kvm, as in Ganeti. */
  readonly qemuPath?: string;
  /** Default: the system's. */
  readonly networkTools?: NetworkTools;
  /** Default: Ganeti's files. */
  readonly spiceCertificate?: SpiceCertificate;
}

export interface HypervisorParts {
  /** The agent's state folder; each driver has a folder of its own in it, and no other agent uses it. */
  readonly stateDir: string;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  readonly options: HypervisorOptions;
}
