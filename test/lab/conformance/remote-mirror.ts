/**
 * The drbd driver behind an agent, with the data forced upon an end that waits for its peer. Only growing needs both
 * ends: the kernel resizes no lone one. The peer's is made by another agent then, as the master has it made.
 */
import { randomBytes, randomUUID } from "node:crypto";
import type { BlockDeviceDriver, BlockDeviceSpec, DrbdLink } from "@gannet/driver-contract";
import type { BlockDeviceSubject } from "@gannet/driver-contract/conformance";
import { eventually } from "../../e2e/conditions.ts";
import { deviceMessage, remoteBlockDevices } from "../../remote-drivers/remote-block-devices.ts";
import { VOLUME_GROUP } from "../plan.ts";
import type { RemoteNode } from "./remote-node.ts";
import { contentsOn } from "./storage-places.ts";

const METADATA_MIB = 128;
/** Far from those that the cluster allocates. */
const FIRST_PORT = 12_000;
const FIRST_MINOR = 50;
const INVENTORY = `lvs --noheadings -o vg_name,lv_name,lv_size
vgs --noheadings -o vg_name,vg_free
dmsetup ls | sort
sed -n 's/^ *\\([0-9]*\\): cs:.*/minor \\1/p' /proc/drbd`;

export function remoteMirror(first: RemoteNode, second: RemoteNode): BlockDeviceSubject {
  const near = remoteBlockDevices("drbd", first);
  const far = remoteBlockDevices("drbd", second);
  const seeded = new Set<string>();
  const paired = new Set<string>();
  let disks = 0;

  function newDevice(): BlockDeviceSpec {
    disks += 1;
    const name = randomUUID();
    const common = { mode: "rw", instanceName: "conformance.gannet.test", index: 0, params: {} } as const;
    const volume = (kind: string, sizeMib: number): BlockDeviceSpec => ({
      ...{ ...common, uuid: randomUUID(), template: "plain", sizeMib, children: [] },
      logicalId: [VOLUME_GROUP, `${name}.disk0_${kind}`],
    });
    const minor = FIRST_MINOR + disks;
    const port = FIRST_PORT + disks;
    return {
      ...{ ...common, uuid: randomUUID(), template: "drbd", sizeMib: 4 },
      logicalId: [randomUUID(), randomUUID(), port, minor, minor],
      children: [volume("data", 4), volume("meta", METADATA_MIB)],
      link: {
        local: { address: first.node.plan.ip, minor },
        peer: { address: second.node.plan.ip, minor },
        port,
        secret: randomBytes(20).toString("hex"),
      },
    };
  }

  /** Ends that have just met may still be about to find out what one of them lacks. */
  async function settled(disk: BlockDeviceSpec): Promise<void> {
    await eventually("the two ends have synchronised", async () => {
      const { disks: statuses } = await first.client.blockDevices.mirrorStatus({ devices: [deviceMessage(disk)] });
      return statuses[0]?.status?.connection === "connected";
    });
  }

  async function pair(disk: BlockDeviceSpec, signal: AbortSignal): Promise<void> {
    const peers = mirrored(disk);
    if (!paired.has(disk.uuid)) {
      await far.create(peers, signal);
      await second.client.blockDevices.standBy({ step: second.step(), device: deviceMessage(peers) }, { signal });
      paired.add(disk.uuid);
    }
    await near.assemble(disk, signal);
    await settled(disk);
  }

  const driver: BlockDeviceDriver = {
    ...near,
    async create(disk, signal) {
      await near.create(disk, signal);
      if (seeded.has(disk.uuid)) return;
      await first.client.blockDevices.seed({ step: first.step(), device: deviceMessage(disk) }, { signal });
      await near.shutdown(disk, signal);
      seeded.add(disk.uuid);
    },
    async grow(disk, newSizeMib, signal) {
      // Nor does it resize without a primary, or while it synchronises.
      if (seeded.has(disk.uuid)) await pair(disk, signal);
      if (paired.has(disk.uuid)) await far.grow(mirrored(disk), newSizeMib, signal);
      await near.grow(disk, newSizeMib, signal);
    },
    async remove(disk, signal) {
      const ends = [near.remove(disk, signal)];
      if (paired.has(disk.uuid)) ends.push(far.remove(mirrored(disk), signal));
      for (const end of await Promise.allSettled(ends)) if (end.status === "rejected") throw end.reason;
      seeded.delete(disk.uuid);
      paired.delete(disk.uuid);
    },
  };

  return {
    driver,
    newDevice,
    hostileDevices: () => hostileMirrors(newDevice()),
    async occupy(disk) {
      const [group = "", name = ""] = disk.children[0]?.logicalId.map(String) ?? [];
      const place = `${group}/${name}`;
      const look = `lvs --noheadings -o lv_size,lv_tags,lv_attr ${place}`;
      await first.node.machine.run(`lvcreate -q -y -Wn -L2m -n ${name} ${group}`);
      const before = await first.node.machine.run(look);
      return {
        isUntouched: async () => (await first.node.machine.run(look)) === before,
        clear: async () => void (await first.node.machine.run(`lvremove -q -f ${place}`)),
      };
    },
    inventory: async () =>
      (await Promise.all([first, second].map(({ node }) => node.machine.run(INVENTORY)))).flatMap((text) =>
        text.split("\n"),
      ),
    ...contentsOn(first.node),
  };
}

/** The same disk as the other node sees it. */
function mirrored(disk: BlockDeviceSpec): BlockDeviceSpec {
  const { link } = disk;
  return link === undefined ? disk : { ...disk, link: { ...link, local: link.peer, peer: link.local } };
}

function hostileMirrors(disk: BlockDeviceSpec): readonly BlockDeviceSpec[] {
  const { link, children } = disk;
  const [data, metadata] = children;
  if (link === undefined || data === undefined || metadata === undefined) return [];
  const withLink = (changes: Partial<DrbdLink>): BlockDeviceSpec => ({ ...disk, link: { ...link, ...changes } });
  return [
    ...["..", "", "-rf", "a/b", "a b", "nul\0"].map((name) => ({
      ...disk,
      children: [{ ...data, logicalId: [VOLUME_GROUP, name] }, metadata],
    })),
    { ...disk, children: [data] },
    { ...disk, link: undefined },
    withLink({ secret: "--force" }),
    withLink({ port: 0 }),
    withLink({ local: { ...link.local, minor: 255 } }),
    withLink({ peer: { ...link.peer, address: "--force" } }),
  ];
}
