/** One end of a DRBD disk as the driver works with it: checked once, before any command is built from it. */
import { isIP, isIPv4, isIPv6 } from "node:net";
import path from "node:path";
import type { BlockDeviceSpec, DrbdEnd, DrbdLink } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { volumeNameOf } from "../lvm/names.ts";
import { type DrbdParameters, drbdParameters } from "./drbd-parameters.ts";

export interface DrbdDisk {
  readonly spec: BlockDeviceSpec;
  /** Ganeti's name of it, by which its devices are found again. */
  readonly resource: string;
  readonly minor: number;
  readonly local: DrbdAddress;
  readonly peer: DrbdAddress;
  /** Letters and digits; empty for disks without authentication. */
  readonly secret: string;
  readonly data: DrbdVolume;
  readonly metadata: DrbdVolume;
  /** Where the kernel's device appears while this end is up. */
  readonly devicePath: string;
  readonly parameters: DrbdParameters;
  /**
   * Sixteen hexadecimal digits, written into the metadata as the last step of making them (`device-uuid`). A volume
   * that bears it is done; any other may hold what an earlier disk has left there, generation numbers included.
   */
  readonly mark: string;
}

export interface DrbdVolume {
  readonly spec: BlockDeviceSpec;
  readonly path: string;
}

export interface DrbdAddress {
  readonly family: "ipv4" | "ipv6";
  readonly host: string;
  readonly port: number;
}

/** As drbdsetup takes it: `ipv4:192.0.2.1:11000`, `ipv6:[2001:db8::1]:11000`. */
export function formatAddress({ family, host, port }: DrbdAddress): string {
  return `${family}:${family === "ipv6" ? `[${host}]` : host}:${port}`;
}

/** The kernel has as many as `minor_count` says, 255 at most. */
const MAX_MINOR = 254;
const MAX_SECRET_CHARS = 63;
/** drbdsetup's limit of `--size`, 1 PiB, in MiB. */
const MAX_SIZE_MIB = 2 ** 30;
/** @throws BlockDeviceError naming the disk and what is wrong */
export function drbdDisk(spec: BlockDeviceSpec, deviceFolder: string): DrbdDisk {
  const refuse = (problem: string): never => {
    throw new BlockDeviceError(`${describe(spec)}: ${problem}`);
  };
  const [data, metadata, ...rest] = spec.children;
  if (spec.template !== "drbd") return refuse("is no DRBD disk");
  if (spec.link === undefined) return refuse("it is not said where its ends are");
  if (data === undefined || metadata === undefined || rest.length > 0)
    return refuse("it must have two volumes, for its data and for its metadata");
  const { local, peer, port, secret } = checkedLink(spec.link, refuse);
  if (!isPossibleSize(spec.sizeMib)) return refuse(`${spec.sizeMib} MiB is not a possible size`);
  const mark = metadata.uuid.replaceAll("-", "").slice(0, 16).toUpperCase();
  if (!/^[0-9A-F]{16}$/.test(mark)) return refuse("its metadata volume has no UUID");
  return {
    spec,
    resource: resourceOf(local.minor),
    minor: local.minor,
    local: addressOf(local, port),
    peer: addressOf(peer, port),
    secret,
    data: { spec: data, path: volumePath(data, deviceFolder) },
    metadata: { spec: metadata, path: volumePath(metadata, deviceFolder) },
    devicePath: path.join(deviceFolder, `drbd${local.minor}`),
    parameters: drbdParameters(spec.params, refuse),
    mark,
  };
}

export function isPossibleSize(sizeMib: number): boolean {
  return Number.isSafeInteger(sizeMib) && sizeMib >= 1 && sizeMib <= MAX_SIZE_MIB;
}

export function resourceOf(minor: number): string {
  return `resource${minor}`;
}

/** For messages; the secret is in none of it. */
export function describe(spec: BlockDeviceSpec): string {
  const minor = spec.link === undefined ? "without a minor" : `minor ${spec.link.local.minor}`;
  return `Disk ${spec.index} of ${spec.instanceName} (drbd ${minor})`;
}

function checkedLink(link: DrbdLink, refuse: (problem: string) => never): DrbdLink {
  const { local, peer, port, secret } = link;
  for (const { address, minor } of [local, peer]) {
    if (!Number.isInteger(minor) || minor < 0 || minor > MAX_MINOR) refuse(`${minor} is no minor number`);
    if (isIP(address) === 0 || address.includes("%")) refuse("the address of an end is no IP address");
  }
  if (isIP(local.address) !== isIP(peer.address)) refuse("its ends' addresses are not of one family");
  if (local.address === peer.address) refuse("both its ends have one address");
  if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse(`${port} is no port`);
  if (secret.length > MAX_SECRET_CHARS || !/^[0-9A-Za-z]*$/.test(secret))
    refuse(`its secret is not made of at most ${MAX_SECRET_CHARS} letters and digits`);
  return link;
}

function addressOf({ address }: DrbdEnd, port: number): DrbdAddress {
  if (isIPv6(address)) return { family: "ipv6", host: address, port };
  if (isIPv4(address)) return { family: "ipv4", host: address, port };
  throw new BlockDeviceError("The address of an end is no IP address");
}

function volumePath(volume: BlockDeviceSpec, deviceFolder: string): string {
  const name = volume.template === "plain" ? volumeNameOf(volume.logicalId) : undefined;
  if (name === undefined)
    throw new BlockDeviceError(
      `Disk ${volume.index} of ${volume.instanceName} (drbd): its volumes are plain disks, [volume group, volume], with names that LVM allows`,
    );
  return path.join(deviceFolder, name.volumeGroup, name.name);
}
