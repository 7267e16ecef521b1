/** A block-device driver behind an agent, with what the checks need around it on the node. */
import { randomUUID } from "node:crypto";
import type { BlockDeviceDriver, BlockDeviceSpec } from "@gannet/driver-contract";
import type { BlockDeviceSubject } from "@gannet/driver-contract/conformance";
import { BlockDeviceError } from "@gannet/errors";
import type { DiskTemplate } from "@gannet/objects";
import { type BlockDevice, encodeParameters } from "@gannet/rpc";
import { FILE_STORAGE_DIR, SHARED_FILE_STORAGE_DIR } from "../../../deploy/one-machine/initial-configuration.ts";
import type { NodeInLab } from "../lab.ts";
import { VOLUME_GROUP } from "../plan.ts";
import { asRefusal, type RemoteNode } from "./remote-node.ts";

/** How one template's disks are named, and what is there of them. */
interface Place {
  readonly logicalId: (name: string) => readonly string[];
  /** Parts of a logical id that must be refused. */
  readonly hostile: readonly (readonly string[])[];
  /** Scripts: put something at the place `$1 $2`, look at it, take it away. */
  readonly occupy: string;
  readonly look: string;
  readonly clear: string;
  /** Script that prints all that is there. */
  readonly inventory: string;
}

const LONG = "x".repeat(300);
const HOSTILE_NAMES = ["-rf", "--help", "..", ".", "", "a/b", "a b", "a\nb", "a\0b", "$(id)", LONG];

/** Files below a folder; both templates of them have the same names. */
function filesBelow(root: string): Place {
  return {
    logicalId: (name) => ["loop", `${root}/conformance/${name}`],
    hostile: [
      ...[`${root}/../escape`, `${root}-beside/disk`, root, "/etc/passwd", "/"],
      ...["relative", "", `${root}/nul\0`, `${root}/line\nbreak`, `${root}/${LONG}`],
    ].map((target) => ["loop", target]),
    occupy: 'mkdir -p "$(dirname "$2")" && echo stranger >"$2"',
    look: 'cat "$2"',
    clear: 'rm -r "$(dirname "$2")"',
    inventory: `find ${root} -mindepth 1 | sort`,
  };
}

const PLACES: Readonly<Partial<Record<DiskTemplate, Place>>> = {
  file: filesBelow(FILE_STORAGE_DIR),
  sharedfile: filesBelow(SHARED_FILE_STORAGE_DIR),
  plain: {
    logicalId: (name) => [VOLUME_GROUP, name],
    hostile: [...HOSTILE_NAMES.map((name) => [VOLUME_GROUP, name]), ["..", "disk"], ["-rf", "disk"]],
    occupy: 'lvcreate -q -y -Wn -L2m -n "$2" "$1"',
    look: 'lvs --noheadings -o lv_size,lv_tags,lv_attr "$1/$2"',
    clear: 'lvremove -q -f "$1/$2"',
    inventory: "lvs --noheadings -o vg_name,lv_name,lv_size; vgs --noheadings -o vg_name,vg_free; dmsetup ls | sort",
  },
};

export function remoteBlockDevices(template: "file" | "sharedfile" | "plain", remote: RemoteNode): BlockDeviceSubject {
  const place = PLACES[template];
  if (place === undefined) throw new Error(`no checks of ${template}`);
  const { machine } = remote.node;
  const deviceAt = (logicalId: readonly string[]): BlockDeviceSpec => ({
    uuid: randomUUID(),
    template,
    logicalId,
    sizeMib: 4,
    mode: "rw",
    instanceName: "conformance.gannet.test",
    index: 0,
    params: {},
    children: [],
  });
  return {
    driver: remoteDriver(template, remote),
    newDevice: () => deviceAt(place.logicalId(randomUUID())),
    hostileDevices: () => place.hostile.map(deviceAt),
    async occupy({ logicalId }) {
      const run = (script: string) => machine.run(`set -- ${logicalId.join(" ")}\n${script}`);
      await run(place.occupy);
      const before = await run(place.look);
      return {
        isUntouched: async () => (await run(place.look)) === before,
        clear: async () => void (await run(place.clear)),
      };
    },
    inventory: async () => (await machine.run(place.inventory)).split("\n"),
    ...contentsOn(remote.node),
  };
}

/** Writing and reading of assembled disks by a node's own tools. */
export function contentsOn({ machine }: NodeInLab): Pick<BlockDeviceSubject, "write" | "read"> {
  return {
    write: async ({ path }, text) => {
      await machine.run(`printf %s '${text}' | dd of=${path} conv=notrunc,fsync status=none`);
    },
    read: ({ path }, bytes) => machine.run(`dd if=${path} bs=${bytes} count=1 status=none`),
  };
}

/** The driver of a template on one node, reached as the master reaches it. */
export function remoteDriver(template: DiskTemplate, remote: RemoteNode): BlockDeviceDriver {
  const { blockDevices, node } = remote.client;
  const change = (device: BlockDeviceSpec) => {
    // No message carries it: the master's own call fails before any agent is asked.
    if (!Number.isSafeInteger(device.sizeMib)) throw new BlockDeviceError(`${device.sizeMib} MiB is no size`);
    return { step: remote.step(), device: messageOf(device) };
  };
  const call = <Result>(body: () => Promise<Result>) => asRefusal(BlockDeviceError, body);
  return {
    template,
    create: (device, signal) => call(async () => void (await blockDevices.create(change(device), { signal }))),
    assemble: (device, signal) =>
      call(async () => {
        const { path, kind, format } = await blockDevices.assemble(change(device), { signal });
        return { path, kind: kind as "block" | "file", format: format as "raw" | "qcow2" };
      }),
    shutdown: (device, signal) => call(async () => void (await blockDevices.shutdown(change(device), { signal }))),
    remove: (device, signal) => call(async () => void (await blockDevices.remove(change(device), { signal }))),
    grow: (device, newSizeMib, signal) =>
      call(async () => void (await blockDevices.grow({ ...change(device), newSizeMib }, { signal }))),
    status: (device, signal) => call(() => blockDevices.status({ device: messageOf(device) }, { signal })),
    space: async (signal) => {
      const { storage } = await node.describe({ knownStorage: false }, { signal });
      return storage.map((unit) => ({ ...unit, type: unit.type as "file" }));
    },
  };
}

export function messageOf({ params, children, link, ...device }: BlockDeviceSpec): BlockDevice {
  return {
    ...device,
    logicalId: device.logicalId.map(String),
    params: encodeParameters(params),
    children: children.map(messageOf),
    name: undefined,
    link: link && {
      localAddress: link.local.address,
      localMinor: link.local.minor,
      peerAddress: link.peer.address,
      peerMinor: link.peer.minor,
      port: link.port,
      secret: link.secret,
    },
  };
}
