/** What every hypervisor driver is made from. */
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import type { KvmAcceleration } from "./kvm/acceleration.ts";

/** Settings of the agent that concern hypervisors. */
export interface HypervisorOptions {
  /** Whether kvm guests without an explicit `kvm_flag` run under KVM. Default `auto`: where it is proven to work. */
  readonly kvmAcceleration?: KvmAcceleration;
  /** The qemu that `describe` tells of; guests name theirs in `kvm_path`. Default /usr/bin/kvm, as in Ganeti. */
  readonly qemuPath?: string;
}

export interface HypervisorParts {
  /** The agent's state folder; each driver has a folder of its own in it, and no other agent uses it. */
  readonly stateDir: string;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  readonly options: HypervisorOptions;
}
