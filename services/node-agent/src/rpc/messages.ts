/**
 * Requests as handlers may trust them, and answers as the wire wants them. What a name, an id or a size may be is
 * checked here; paths in logical ids are the drivers' concern, who know which folders are allowed.
 */
import type {
  AttachedDevice,
  BlockDeviceSpec,
  DrbdLink,
  GuestConsole,
  GuestDisk,
  GuestSpec,
} from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import {
  DISK_TEMPLATE_TRAITS,
  DISK_TEMPLATES,
  HYPERVISORS,
  type HypervisorName,
  normalizeHostName,
} from "@gannet/objects";
import {
  decodeParameters,
  type InstanceConsole,
  type InstanceState,
  type Nic as NicMessage,
  type ParameterValue,
} from "@gannet/rpc";
import { z } from "zod";
import type { GuestMetadata } from "../metadata/guest-metadata.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TEXT_LIMIT_CHARS = 4096;
const MAX_DISKS = 16;
const MAX_NICS = 8;
/** A DRBD disk has two children, which have none. */
const MAX_CHILDREN = 2;
/** The kernel module has as many devices as it was loaded for (`minor_count`), 255 at most. */
const MAX_DRBD_MINOR = 254;
/** What drbdsetup takes. */
const MAX_SECRET_CHARS = 63;
const MAX_TIMEOUT_MS = 24 * 60 * 60 * 1000;

export const text = z
  .string()
  .max(TEXT_LIMIT_CHARS)
  .refine((value) => !value.includes("\0"), "holds a NUL character");
const uuid = z.string().regex(UUID);
const hostName = z.string().refine(isHostName, "is no host name");
export const sizeMib = z.int().nonnegative();
const nullWhenEmpty = text.transform((value) => (value === "" ? null : value));
const parameters = z.custom<Record<string, ParameterValue>>().transform(decodeParameters);

export const hypervisorName = z.enum(HYPERVISORS);
export const guestName = hostName;
export const guestIdentity = z.object({ name: hostName, uuid });
export const timeoutMs = z.int().nonnegative().max(MAX_TIMEOUT_MS);

const childDevice = z.object({
  uuid,
  template: z.enum(DISK_TEMPLATES),
  logicalId: z.array(text).max(MAX_DISKS),
  sizeMib,
  mode: z.enum(["ro", "rw"]),
  instanceName: hostName,
  index: z.int().nonnegative(),
  params: parameters,
  children: z.array(z.never()),
});

export const ipAddress = z.union([z.ipv4(), z.ipv6()]);
const drbdMinor = z.int().nonnegative().max(MAX_DRBD_MINOR);
const drbdLink = z
  .object({
    localAddress: ipAddress,
    localMinor: drbdMinor,
    peerAddress: ipAddress,
    peerMinor: drbdMinor,
    port: z.int().min(1).max(65535),
    secret: text.regex(/^[0-9A-Za-z]*$/, "holds other characters than letters and digits").max(MAX_SECRET_CHARS),
  })
  .transform(
    ({ localAddress, localMinor, peerAddress, peerMinor, port, secret }): DrbdLink => ({
      local: { address: localAddress, minor: localMinor },
      peer: { address: peerAddress, minor: peerMinor },
      port,
      secret,
    }),
  );

/** A disk, with the name its user gave it. */
export const device = childDevice.extend({
  children: z.array(childDevice).max(MAX_CHILDREN),
  name: text.optional(),
  link: drbdLink.optional(),
});
export type Device = z.infer<typeof device> & BlockDeviceSpec;

const network = z.object({
  uuid,
  name: text,
  subnet: nullWhenEmpty,
  gateway: nullWhenEmpty,
  subnet6: nullWhenEmpty,
  gateway6: nullWhenEmpty,
  macPrefix: nullWhenEmpty,
  tags: z.array(text),
});

export const nic = z.object({
  uuid,
  name: nullWhenEmpty,
  mac: z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/),
  ip: nullWhenEmpty,
  mode: z.enum(["bridged", "routed", "openvswitch", "ext", "user"]),
  link: text,
  vlan: text,
  network: network.optional(),
});

const osParameters = z.record(z.string(), z.string());
/** With it comes what is no NIC's: drivers keep NICs in their records, where it must not be. */
const communicationNic = z.object({
  ip: z.ipv4(),
  metadata: z.object({ uuid, os: text, publicParameters: osParameters, privateParameters: osParameters }),
});

/**
 * What the guest may read of itself over these NICs.
 * @throws OpPrereqError (wrong_input)
 */
export function guestMetadata(
  { name, hypervisor }: Pick<GuestMetadata, "name" | "hypervisor">,
  nics: readonly NicMessage[],
): GuestMetadata | undefined {
  const found = nics.find(({ metadata }) => metadata !== undefined);
  if (found === undefined) return undefined;
  const { ip: address, metadata } = parse(communicationNic, found, "NIC");
  return { name, hypervisor, address, ...metadata };
}

const uid = z.int().nonnegative();

/** A guest whose disks are named, not opened yet. */
export const guest = z.object({
  name: hostName,
  uuid,
  hypervisor: hypervisorName,
  maxMemoryMib: z.int().positive(),
  startMemoryMib: z.int().positive(),
  vcpus: z.int().positive(),
  disks: z.array(device).max(MAX_DISKS),
  nics: z.array(nic).max(MAX_NICS),
  hvparams: parameters,
  networkPort: z
    .int()
    .max(65535)
    .transform((port) => (port === 0 ? null : port)),
  tags: z.array(text),
  uidPool: z.array(z.object({ first: uid, last: uid }).transform(({ first, last }) => [first, last] as const)),
});
export type Guest = z.infer<typeof guest>;

/** @throws OpPrereqError (wrong_input) naming what is wrong */
export function parse<Output>(schema: z.ZodType<Output>, value: unknown, what: string): Output {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${[what, ...path].join(".")}: ${message}`);
  throw new OpPrereqError(`The request is not acceptable: ${problems.join("; ")}`, "wrong_input");
}

function isHostName(name: string): boolean {
  try {
    return normalizeHostName(name) === name;
  } catch {
    return false;
  }
}

/** One disk as a guest is handed it. */
export function guestDisk(disk: z.infer<typeof device>, opened: AttachedDevice, index: number): GuestDisk {
  const { isFileBased, mirroring } = DISK_TEMPLATE_TRAITS[disk.template];
  const [fileDriver] = isFileBased && opened.kind === "file" ? disk.logicalId : [];
  return {
    uuid: disk.uuid,
    index,
    name: disk.name ?? null,
    path: opened.path,
    kind: opened.kind,
    format: opened.format,
    access: disk.mode,
    sizeMib: disk.sizeMib,
    ...(opened.uris === undefined ? {} : { uris: opened.uris }),
    ...(fileDriver === undefined ? {} : { fileDriver }),
    ...(mirroring === "external" ? { seenByAllNodes: true } : {}),
  };
}

/** The guest that drivers get, its disks attached in their order. */
export function guestSpec(parsed: Guest, attached: readonly AttachedDevice[]): GuestSpec {
  const disks = attached.map((opened, index): GuestDisk => {
    const disk = parsed.disks[index];
    if (disk === undefined) throw new Error(`Guest ${parsed.name} has no disk ${index}`);
    return guestDisk(disk, opened, index);
  });
  return { ...parsed, disks, nics: parsed.nics.map((each, index) => ({ ...each, index })) };
}

/** What is answered about a guest that nothing is known of. */
export function unknownInstance(name: string, hypervisor: HypervisorName): Omit<InstanceState, "asOfMs"> {
  return { name, uuid: "", hypervisor, status: "shutdown", memoryMib: 0, vcpus: 0, uptimeSeconds: 0, cpuSeconds: 0 };
}

export function instanceConsole(console: GuestConsole): InstanceConsole {
  const nothing = { message: "", command: [], port: 0, display: 0 };
  switch (console.kind) {
    case "ssh":
      return { ...nothing, kind: console.kind, command: [...console.command] };
    case "vnc":
      return { ...nothing, kind: console.kind, port: console.port, display: console.display };
    case "spice":
      return { ...nothing, kind: console.kind, port: console.port };
    case "msg":
      return { ...nothing, kind: console.kind, message: console.message };
  }
}

/** What a step on these disks touches: two disks may claim one place, and one disk is known by its UUID. */
export function deviceResources(devices: readonly BlockDeviceSpec[]): readonly string[] {
  return devices.flatMap((each) => [
    `disk ${each.uuid}`,
    `device ${each.template} ${each.logicalId.join(" ")}`,
    ...deviceResources(each.children),
  ]);
}

export function guestResource(name: string): string {
  return `instance ${name}`;
}
