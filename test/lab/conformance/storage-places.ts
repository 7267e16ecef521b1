/** Where the disks of each template are on a node, and what the checks need around them there. */
import { randomUUID } from "node:crypto";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import type { BlockDeviceSubject, GivenDeviceSubject, StorageSubject } from "@gannet/driver-contract/conformance";
import type { DiskTemplate } from "@gannet/objects";
import { FILE_STORAGE_DIR, SHARED_FILE_STORAGE_DIR } from "../../../deploy/one-machine/initial-configuration.ts";
import { remoteBlockDevices } from "../../remote-drivers/remote-block-devices.ts";
import type { NodeInLab } from "../lab.ts";
import { VOLUME_GROUP } from "../plan.ts";
import type { RemoteNode } from "./remote-node.ts";

/** How one template's disks are named, and what is there of them. */
export interface StoragePlace {
  readonly template: DiskTemplate;
  readonly logicalId: (name: string) => readonly string[];
  /** Parts of a logical id that must be refused. */
  readonly hostile: readonly (readonly string[])[];
  /** Script that prints all that is there. */
  readonly inventory: string;
  /** Scripts that make the place on the node, and take it away. */
  readonly open?: string;
  readonly close?: string;
}

/** Scripts: put something at the place `$1 $2` of a disk, look at it, take it away. */
interface Stranger {
  readonly occupy: string;
  readonly look: string;
  readonly clear: string;
}

/** Of a driver that makes its devices. */
export interface OwnPlace extends StoragePlace {
  readonly stranger: Stranger;
}

const LONG = "x".repeat(300);
const HOSTILE_NAMES = ["-rf", "--help", "..", ".", "", "a/b", "a b", "a\nb", "a\0b", "$(id)", LONG];

/** Files below a folder; both templates of them have the same names. */
function filesBelow(template: "file" | "sharedfile", root: string): OwnPlace {
  return {
    template,
    logicalId: (name) => ["loop", `${root}/conformance/${name}`],
    hostile: [
      ...[`${root}/../escape`, `${root}-beside/disk`, root, "/etc/passwd", "/"],
      ...["relative", "", `${root}/nul\0`, `${root}/line\nbreak`, `${root}/${LONG}`],
    ].map((target) => ["loop", target]),
    stranger: {
      occupy: 'mkdir -p "$(dirname "$2")" && echo stranger >"$2"',
      look: 'cat "$2"',
      clear: 'rm -r "$(dirname "$2")"',
    },
    inventory: `find ${root} -mindepth 1 | sort`,
  };
}

const VOLUMES = "lvs --noheadings -o vg_name,lv_name,lv_size; vgs --noheadings -o vg_name,vg_free; dmsetup ls | sort";
const PLAIN: OwnPlace = {
  template: "plain",
  logicalId: (name) => [VOLUME_GROUP, name],
  hostile: [...HOSTILE_NAMES.map((name) => [VOLUME_GROUP, name]), ["..", "disk"], ["-rf", "disk"]],
  stranger: {
    occupy: 'lvcreate -q -y -Wn -L2m -n "$2" "$1"',
    look: 'lvs --noheadings -o lv_size,lv_tags,lv_attr "$1/$2"',
    clear: 'lvremove -q -f "$1/$2"',
  },
  inventory: VOLUMES,
};

const PROVIDER = "loops";
const PROVIDER_FOLDER = `/srv/ganeti/extstorage/${PROVIDER}`;
const PROVIDED = `${FILE_STORAGE_DIR}/${PROVIDER}`;

/** A provider of loop devices (guest/loop-volumes). */
const EXT: OwnPlace = {
  template: "ext",
  logicalId: (name) => [PROVIDER, name],
  hostile: [
    ...HOSTILE_NAMES.map((name) => [PROVIDER, name]),
    ...[...HOSTILE_NAMES, "nosuch"].map((name) => [name, "disk"]),
  ],
  stranger: {
    occupy: `echo stranger >${PROVIDED}/"$2"`,
    look: `cat ${PROVIDED}/"$2"`,
    clear: `rm ${PROVIDED}/"$2"`,
  },
  // Any look at a volume attaches it: that is undone with the volume.
  inventory: `find ${PROVIDED} | sort; losetup --noheadings --list --output BACK-FILE | sort`,
  open: `mkdir -p ${PROVIDED} ${PROVIDER_FOLDER}
for script in create attach detach remove grow setinfo verify snapshot; do
  ln -s ${path.resolve(import.meta.dirname, "../guest/loop-volumes")} ${PROVIDER_FOLDER}/$script
done
echo 'folder Where the files are' >${PROVIDER_FOLDER}/parameters.list`,
  close: `rm -r ${PROVIDED} ${PROVIDER_FOLDER}`,
};

const DEVICES = "/dev/disk/by-id";
const GIVEN = "given";

/** A device by the name that udev gives it: here a logical volume, as of a storage network anywhere else. */
const BLOCKDEV: StoragePlace = {
  template: "blockdev",
  logicalId: (name) => ["manual", `${DEVICES}/${name}`],
  hostile: [
    ...["", "/", "/dev", "/dev/", "/etc/passwd", "/dev/../etc/passwd", "/dev/null", "/dev/disk", "-rf", "relative"],
    ...["/dev/s\0db", "/dev/s\ndb", "/dev/fd/0", `/dev/${LONG}`],
  ].map((target) => ["manual", target]),
  inventory: `${VOLUMES}; ls ${DEVICES}`,
  open: `lvcreate -q -y -Wn -L4m -n ${GIVEN} ${VOLUME_GROUP} && udevadm settle`,
  close: `lvremove -q -f ${VOLUME_GROUP}/${GIVEN} && udevadm settle`,
};

/** Templates whose disks the driver makes. */
export const STORAGE_PLACES: readonly OwnPlace[] = [
  filesBelow("file", FILE_STORAGE_DIR),
  filesBelow("sharedfile", SHARED_FILE_STORAGE_DIR),
  PLAIN,
  EXT,
];

export function ownSubject(place: OwnPlace, remote: RemoteNode): BlockDeviceSubject {
  return {
    ...subjectOf(place, remote),
    async occupy({ logicalId }) {
      const run = (script: string) => remote.node.machine.run(`set -- ${logicalId.join(" ")}\n${script}`);
      const { occupy, look, clear } = place.stranger;
      await run(occupy);
      const before = await run(look);
      return {
        isUntouched: async () => (await run(look)) === before,
        clear: async () => void (await run(clear)),
      };
    },
  };
}

/** Templates whose devices are there already. */
export const GIVEN_PLACE: StoragePlace = BLOCKDEV;

export function givenSubject(remote: RemoteNode): GivenDeviceSubject {
  const name = `dm-name-${VOLUME_GROUP}-${GIVEN}`;
  return {
    ...subjectOf(GIVEN_PLACE, remote),
    givenDevice: async () => diskAt(GIVEN_PLACE, GIVEN_PLACE.logicalId(name)),
  };
}

function subjectOf(place: StoragePlace, remote: RemoteNode): StorageSubject {
  return {
    driver: remoteBlockDevices(place.template, remote),
    newDevice: () => diskAt(place, place.logicalId(randomUUID())),
    hostileDevices: () => place.hostile.map((logicalId) => diskAt(place, logicalId)),
    inventory: async () => (await remote.node.machine.run(place.inventory)).split("\n"),
    ...contentsOn(remote.node),
  };
}

function diskAt({ template }: StoragePlace, logicalId: readonly string[]): BlockDeviceSpec {
  return {
    uuid: randomUUID(),
    template,
    logicalId,
    sizeMib: 4,
    mode: "rw",
    instanceName: "conformance.gannet.test",
    index: 0,
    params: {},
    children: [],
  };
}

/** Writing and reading of assembled disks by a node's own tools. */
export function contentsOn({ machine }: NodeInLab): Pick<StorageSubject, "write" | "read"> {
  return {
    write: async ({ path: device }, text) => {
      await machine.run(`printf %s '${text}' | dd of=${device} conv=notrunc,fsync status=none`);
    },
    read: ({ path: device }, bytes) => machine.run(`dd if=${device} bs=${bytes} count=1 status=none`),
  };
}
