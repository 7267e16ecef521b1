/**
 * Commands for the kernel module 9 (drbdsetup-9.0.8(8), usage of drbd-utils 9.22). A resource's ends have node ids,
 * which must differ and which the metadata keep: the end with the lower address is 0. A disk whose secondary is
 * replaced by one on the other side of that order cannot be brought up; the kernel refuses the changed id.
 */
import {
  COMMON,
  type DrbdCommand,
  type DrbdDialect,
  drbdmeta,
  drbdsetup,
  drbdsetupShow,
  dualPrimaryOptions,
  netOptions,
  withSecret,
} from "./dialect.ts";
import { type DrbdDisk, formatAddress } from "./drbd-disk.ts";

export const DIALECT_9: DrbdDialect = {
  ...COMMON,
  createMetadata: (disk) => metadata(disk, "create-md", "1"),
  writeMark: (disk) => metadata(disk, "write-dev-uuid", disk.mark),
  applyActivityLog: (disk) => metadata(disk, "apply-al"),
  newResource: (disk) => drbdsetup("new-resource", disk.resource, `${localId(disk)}`),
  connect: (disk, options) => [
    withSecret(disk, ["new-peer", disk.resource, peerId(disk), ...netOptions(disk, options)]),
    drbdsetup("new-path", disk.resource, peerId(disk), formatAddress(disk.local), formatAddress(disk.peer)),
    drbdsetup("connect", disk.resource, peerId(disk)),
  ],
  changeConnection: (disk, options) =>
    drbdsetup("net-options", disk.resource, peerId(disk), ...dualPrimaryOptions(disk, options)),
  // The peer goes, too: its path may be another one next time.
  disconnect: (disk, { peerNodeId }) => {
    const id = `${peerNodeId ?? peerId(disk)}`;
    return [drbdsetup("disconnect", disk.resource, id), drbdsetup("del-peer", disk.resource, id)];
  },
  resyncOptionsOf: "connection",
  resyncOptions: (disk) =>
    drbdsetup("peer-device-options", disk.resource, peerId(disk), "0", ...disk.parameters.resyncOptions),
  primary: ({ resource }, { force }) => drbdsetup("primary", resource, ...(force ? ["--force"] : [])),
  secondary: ({ resource }) => drbdsetup("secondary", resource),
  pauseSync: (disk) => drbdsetup("pause-sync", disk.resource, peerId(disk), "0"),
  resumeSync: (disk) => drbdsetup("resume-sync", disk.resource, peerId(disk), "0"),
  generations: (disk) => drbdsetup("get-gi", disk.resource, peerId(disk), "0"),
  show: drbdsetupShow("all"),
};

function localId({ local, peer }: DrbdDisk): 0 | 1 {
  return local.host < peer.host ? 0 : 1;
}

function peerId(disk: DrbdDisk): string {
  return localId(disk) === 0 ? "1" : "0";
}

function metadata(disk: DrbdDisk, ...command: readonly string[]): DrbdCommand {
  return drbdmeta("--force", `${disk.minor}`, "v09", disk.metadata.path, "flex-external", ...command);
}
