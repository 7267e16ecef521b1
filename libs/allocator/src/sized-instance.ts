/** What an instance asks of its nodes. */
import { DISK_TEMPLATE_TRAITS, type DiskTemplate } from "@gannet/objects";
import type { AllocatorDisk, AllocatorInstance } from "./protocol.ts";
import type { InstanceTagSets } from "./site-tags.ts";

/** What an instance asks of the nodes it is on. Sizes are MiB. */
export interface SizedInstance extends InstanceTagSets {
  readonly name: string;
  readonly template: DiskTemplate;
  readonly mirroring: "none" | "internal" | "external";
  /** What it may take of its primary node: nothing for an instance that is offline, which cannot start. */
  readonly memoryMib: number;
  /** What policies look at. */
  readonly maxMemoryMib: number;
  readonly vcpus: number;
  readonly spindleUse: number;
  /** What its disks take of each of its nodes; nothing where the storage is not the nodes'. */
  readonly diskMib: number;
  /** Spindles its disks take where a node's disks are not shared (exclusive storage). */
  readonly diskSpindles: number;
  readonly diskSizesMib: readonly number[];
  readonly nicCount: number;
  /** UUIDs of the networks its NICs are in. */
  readonly networks: readonly string[];
}

/** The instance's part of the protocol that both requests and existing instances have. */
export type InstanceMessage = Pick<
  AllocatorInstance,
  "tags" | "vcpus" | "memory" | "spindle_use" | "nics" | "disks" | "disk_template" | "disk_space_total"
>;

export function sizedInstance(
  name: string,
  message: InstanceMessage,
  adminState: string,
  tags: InstanceTagSets,
): SizedInstance {
  const template = message.disk_template as DiskTemplate;
  const mirroring = DISK_TEMPLATE_TRAITS[template]?.mirroring ?? "none";
  return {
    ...tags,
    name,
    template,
    mirroring,
    memoryMib: adminState === "offline" ? 0 : message.memory,
    maxMemoryMib: message.memory,
    vcpus: message.vcpus,
    spindleUse: message.spindle_use,
    diskMib: mirroring === "external" ? 0 : message.disk_space_total,
    diskSpindles: mirroring === "external" ? 0 : total(message.disks, ({ spindles }) => spindles ?? 0),
    diskSizesMib: message.disks.map(({ size }) => size),
    nicCount: message.nics.length,
    networks: message.nics.flatMap(({ network }) => network ?? []),
  };
}

function total(disks: readonly AllocatorDisk[], of: (disk: AllocatorDisk) => number): number {
  return disks.reduce((sum, disk) => sum + of(disk), 0);
}
