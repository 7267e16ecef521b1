/** The commands of one version of DRBD's tools, built and not run. */
import type { DrbdDisk } from "./drbd-disk.ts";
import type { ShownConnection } from "./shown-configuration.ts";

export interface DrbdCommand {
  readonly program: "drbdsetup" | "drbdmeta";
  readonly args: readonly string[];
  /** Positions in `args` that no log and no message may show. */
  readonly secretArgs?: readonly number[];
  /** What it prints holds secrets, so that nothing of it may be told. */
  readonly printsSecrets?: true;
}

/** Where drbdsetup has one command for a thing, a list has one element; the lists are run in their order. */
export interface DrbdDialect {
  /** Of drbdmeta, for volumes that are not attached. */
  readonly createMetadata: (disk: DrbdDisk) => DrbdCommand;
  /** {@link DrbdDisk.mark}, as the device's UUID. */
  readonly writeMark: (disk: DrbdDisk) => DrbdCommand;
  /** What the kernel needs done to metadata that a crashed primary has left; nothing for others. */
  readonly applyActivityLog: (disk: DrbdDisk) => DrbdCommand;

  readonly newResource: (disk: DrbdDisk) => DrbdCommand;
  readonly newMinor: (disk: DrbdDisk) => DrbdCommand;
  /** With the speed of its resync, where the volume keeps that. */
  readonly attach: (disk: DrbdDisk) => DrbdCommand;
  readonly detach: (disk: DrbdDisk) => DrbdCommand;
  readonly connect: (disk: DrbdDisk, options: ConnectOptions) => readonly DrbdCommand[];
  /** Change what `connect` has set; refused by the kernel while two are primary and one may be. */
  readonly changeConnection: (disk: DrbdDisk, options: ConnectOptions) => DrbdCommand;
  /** End a connection, which need not be the one the disk should have. */
  readonly disconnect: (disk: DrbdDisk, connection: ShownConnection) => readonly DrbdCommand[];
  readonly resyncOptions: (disk: DrbdDisk) => DrbdCommand;
  /** Where the kernel keeps these, and what must be there first. */
  readonly resyncOptionsOf: "volume" | "connection";
  readonly primary: (disk: DrbdDisk, options: { readonly force: boolean }) => DrbdCommand;
  readonly secondary: (disk: Pick<DrbdDisk, "minor" | "resource">) => DrbdCommand;
  readonly resize: (disk: DrbdDisk, sizeMib: number) => DrbdCommand;
  readonly pauseSync: (disk: DrbdDisk) => DrbdCommand;
  readonly resumeSync: (disk: DrbdDisk) => DrbdCommand;
  readonly down: (disk: DrbdDisk) => DrbdCommand;

  /** Prints the generation identifiers of an attached end: current, bitmap, two of the history, flags. */
  readonly generations: (disk: DrbdDisk) => DrbdCommand;
  /** Of one resource, or of all. */
  readonly events: (resource: string) => DrbdCommand;
  /** The whole configuration, secrets included. */
  readonly show: DrbdCommand;
}

export interface ConnectOptions {
  readonly dualPrimary: boolean;
}

export function drbdsetup(...args: readonly string[]): DrbdCommand {
  return { program: "drbdsetup", args };
}

/** The configuration, in which the secrets of all disks stand. */
export function drbdsetupShow(...args: readonly string[]): DrbdCommand {
  return { program: "drbdsetup", args: ["show", ...args], printsSecrets: true };
}

export function drbdmeta(...args: readonly string[]): DrbdCommand {
  return { program: "drbdmeta", args };
}

/** In both versions. */
export const COMMON = {
  detach: ({ minor }) => drbdsetup("detach", `${minor}`),
  resize: ({ minor }, sizeMib) => drbdsetup("resize", `${minor}`, `--size=${sizeMib * 1024}k`),
  down: ({ resource }) => drbdsetup("down", resource),
  newMinor: ({ resource, minor }) => drbdsetup("new-minor", resource, `${minor}`, "0"),
  attach: ({ minor, data, metadata, spec, parameters }) =>
    drbdsetup(
      ...["attach", `${minor}`, data.path, metadata.path, "flexible"],
      ...[`--size=${spec.sizeMib * 1024}k`, "--on-io-error=detach"],
      ...parameters.diskOptions,
    ),
  events: (resource) => drbdsetup("events2", "--now", "--statistics", resource),
} as const satisfies Partial<DrbdDialect>;

/** The options of a connection without its secret. */
export function netOptions({ parameters }: DrbdDisk, { dualPrimary }: ConnectOptions): readonly string[] {
  return [
    // The kernel allows two primaries with protocol C only.
    `--protocol=${dualPrimary ? "C" : parameters.protocol}`,
    "--after-sb-0pri=discard-zero-changes",
    "--after-sb-1pri=consensus",
    ...(dualPrimary ? ["--allow-two-primaries=yes"] : []),
    ...parameters.netOptions,
  ];
}

/**
 * A command that takes the disk's secret, with it at the end.
 *
 * drbdsetup takes a secret as an argument and in no other way (drbdsetup(8) of 8.4 and 9: no file, variable or
 * prompt; drbdadm hands it over the same way). It stands in /proc/<pid>/cmdline, which every user of the node may read
 * unless /proc is mounted with hidepid (proc(5)), for as long as the command runs: some milliseconds, once each time
 * that an end is connected. Its value is an argument of its own, so that the runner masks it wherever it appears.
 */
export function withSecret({ secret }: DrbdDisk, args: readonly string[]): DrbdCommand {
  if (secret === "") return { program: "drbdsetup", args };
  const all = [...args, "--cram-hmac-alg=md5", "--shared-secret", secret];
  return { program: "drbdsetup", args: all, secretArgs: [all.length - 1] };
}

/** The options by which {@link DrbdDialect.changeConnection} allows two primaries, or no longer. */
export function dualPrimaryOptions({ parameters }: DrbdDisk, { dualPrimary }: ConnectOptions): readonly string[] {
  return dualPrimary
    ? ["--protocol=C", "--allow-two-primaries=yes"]
    : [`--protocol=${parameters.protocol}`, "--allow-two-primaries=no"];
}
