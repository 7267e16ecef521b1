/** What is behind a disk of a running guest, as a block node of its qemu. */
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { GuestMonitor } from "../guest-monitor.ts";
import { isConfined } from "../isolation/confined.ts";

type BlockNode = Readonly<Record<string, unknown>>;

/**
 * A qemu that is confined opens its disks before it becomes so. What comes later the agent opens for it and hands it
 * over: qemu finds it under a name that stands for the descriptor (spec/node-ops.json, `hv.kvm.qmp`, `add-fd`).
 * @param node as for `blockdev-add`
 * @throws HypervisorError; there is no such node then
 */
export async function addDiskBackend(
  monitor: Pick<GuestMonitor, "execute">,
  guest: Pick<GuestSpec, "name" | "hvparams">,
  node: BlockNode,
): Promise<void> {
  if (!isConfined(guest)) return monitor.execute({ name: "blockdev-add", arguments: node });
  const file = node.file as BlockNode;
  if (typeof file.filename !== "string") return addByNetwork(monitor, guest, node);
  const enclosed = { path: file.filename, access: node["read-only"] === true ? "ro" : "rw" } as const;
  const { "fdset-id": set } = await monitor.execute({ name: "add-fd" }, { enclosed });
  try {
    const handedOver = { ...node, file: { ...file, filename: `/dev/fdset/${set}` } };
    await monitor.execute({ name: "blockdev-add", arguments: handedOver });
  } finally {
    // The node has a copy of its own. What cannot be removed now goes when the agent lets go of the monitor.
    await monitor.execute({ name: "remove-fd", arguments: { "fdset-id": set } }).catch(() => {});
  }
}

async function addByNetwork(
  monitor: Pick<GuestMonitor, "execute">,
  { name, hvparams }: Pick<GuestSpec, "name" | "hvparams">,
  node: BlockNode,
): Promise<void> {
  if (hvparams.use_chroot === true)
    throw new HypervisorError(`Instance ${name} runs in a chroot, where its qemu cannot reach disks by the network`);
  await monitor.execute({ name: "blockdev-add", arguments: node });
}
