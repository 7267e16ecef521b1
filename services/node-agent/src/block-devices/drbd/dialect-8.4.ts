/** Commands for the kernel module 8.4 (drbdsetup-8.4.8(8); spec/node-ops.json, `storage.drbd`). */
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

export const DIALECT_8_4: DrbdDialect = {
  ...COMMON,
  createMetadata: (disk) => metadata(disk, "create-md"),
  writeMark: (disk) => metadata(disk, "write-dev-uuid", disk.mark),
  applyActivityLog: (disk) => metadata(disk, "apply-al"),
  newResource: ({ resource }) => drbdsetup("new-resource", resource),
  connect: (disk, options) => [
    withSecret(disk, [
      "connect",
      disk.resource,
      formatAddress(disk.local),
      formatAddress(disk.peer),
      ...netOptions(disk, options),
    ]),
  ],
  attach: (disk) => drbdsetup(...COMMON.attach(disk).args, ...disk.parameters.resyncOptions),
  changeConnection: (disk, options) =>
    drbdsetup("net-options", formatAddress(disk.local), formatAddress(disk.peer), ...dualPrimaryOptions(disk, options)),
  disconnect: (_disk, { local, peer }) => [drbdsetup("disconnect", formatAddress(local), formatAddress(peer))],
  resyncOptionsOf: "volume",
  resyncOptions: ({ minor, parameters }) => drbdsetup("disk-options", `${minor}`, ...parameters.resyncOptions),
  primary: ({ minor }, { force }) => drbdsetup("primary", `${minor}`, ...(force ? ["--force"] : [])),
  secondary: ({ minor }) => drbdsetup("secondary", `${minor}`),
  pauseSync: ({ minor }) => drbdsetup("pause-sync", `${minor}`),
  resumeSync: ({ minor }) => drbdsetup("resume-sync", `${minor}`),
  generations: ({ minor }) => drbdsetup("get-gi", `${minor}`),
  show: drbdsetupShow(),
};

/** `--force` answers the questions that drbdmeta asks about what it finds on the volume. */
function metadata(disk: DrbdDisk, ...command: readonly string[]): DrbdCommand {
  return drbdmeta("--force", `/dev/drbd${disk.minor}`, "v08", disk.metadata.path, "flex-external", ...command);
}
