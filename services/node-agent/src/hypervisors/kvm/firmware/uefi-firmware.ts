/**
 * UEFI firmware of this node, found by the descriptors that its packages install for programs that start qemu
 * (qemu's docs/interop/firmware.json): which file is the code, which one the template of the variables, and for which
 * machines.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { HypervisorError } from "@gannet/errors";
import { z } from "zod";

/** Of the two files that are the guest's flash memory, in bytes. */
export const firmwareSizes = z.object({ codeBytes: z.int().positive(), varsBytes: z.int().positive() });
export type FirmwareSizes = z.output<typeof firmwareSizes>;

/** Of a guest on its way from another node. */
export const sentFirmware = firmwareSizes.extend({
  /**
   * The variables of one that stands still (nonvolatile-state.ts): qemu writes what it was sent to the target's file
   * only when the guest goes on, which it may never do.
   */
  vars: z.base64().exactOptional(),
});
export type SentFirmware = z.output<typeof sentFirmware>;

export interface UefiFirmware extends FirmwareSizes {
  /** Read-only, shared by all guests. */
  readonly code: string;
  /** What an instance's own variables begin as. */
  readonly varsTemplate: string;
  /** The variables, too, are written in system management mode only, which the machine must then have. */
  readonly needsSmm: boolean;
}

export interface WantedFirmware {
  /** By its versioned name. */
  readonly machine: string;
  readonly secureBoot: boolean;
  /** What the guest has already: firmware of another size would not find its way in it. */
  readonly sizes: Partial<FirmwareSizes>;
}

/** The second holds the administrator's: a file there stands in for the one of its name in the first. */
const SYSTEM_FOLDERS: readonly string[] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];
const ARCHITECTURE = "x86_64";

const rawFile = z.object({ filename: z.string(), format: z.literal("raw") });
const descriptor = z.object({
  "interface-types": z.array(z.string()),
  mapping: z.object({ device: z.literal("flash"), executable: rawFile, "nvram-template": rawFile }),
  targets: z.array(z.object({ architecture: z.string(), machines: z.array(z.string()) })),
  features: z.array(z.string()),
});
type Descriptor = z.output<typeof descriptor>;

/** @throws HypervisorError when this node has none that fits */
export async function findUefiFirmware(
  wanted: WantedFirmware,
  folders: readonly string[] = SYSTEM_FOLDERS,
): Promise<UefiFirmware> {
  const parameter = wanted.secureBoot ? "secure_boot" : "uefi";
  const fitting = (await readDescriptors(folders)).filter((each) => fits(each, wanted));
  let otherSize: FirmwareSizes | undefined;
  for (const { mapping, features } of fitting) {
    const [code, varsTemplate] = [mapping.executable.filename, mapping["nvram-template"].filename];
    const sizes = await sizesOf(code, varsTemplate);
    if (sizes === undefined) continue;
    if (hasSizes(sizes, wanted.sizes))
      return { code, varsTemplate, needsSmm: features.includes("requires-smm"), ...sizes };
    otherSize = sizes;
  }
  if (otherSize === undefined)
    throw new HypervisorError(
      `${parameter}: this node has no UEFI firmware for the machine ${wanted.machine}` +
        `${wanted.secureBoot ? " with Microsoft's keys, which there is for q35 machines" : ""}; install it (Debian's package ovmf)`,
    );
  const { codeBytes = otherSize.codeBytes, varsBytes = otherSize.varsBytes } = wanted.sizes;
  throw new HypervisorError(
    `${parameter}: the instance has UEFI firmware of ${codeBytes} bytes with ${varsBytes} bytes of variables, ` +
      `and that of this node has ${otherSize.codeBytes} and ${otherSize.varsBytes}; install the version that it began with`,
  );
}

/** In the order in which they are to be tried: that of their names. What is no descriptor of this form is left out. */
async function readDescriptors(folders: readonly string[]): Promise<readonly Descriptor[]> {
  const files = new Map<string, string>();
  for (const folder of folders)
    for (const name of await readdir(folder).catch(() => []))
      if (name.endsWith(".json")) files.set(name, path.join(folder, name));
  const names = [...files.keys()].sort();
  const read = await Promise.all(names.map((name) => readDescriptor(files.get(name) ?? "")));
  return read.filter((each) => each !== undefined);
}

async function readDescriptor(file: string): Promise<Descriptor | undefined> {
  try {
    return descriptor.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    // Firmware of another kind, or an empty file by which an administrator hides one.
    return undefined;
  }
}

function fits({ "interface-types": interfaces, targets, features }: Descriptor, wanted: WantedFirmware): boolean {
  // Secure boot without any keys does not check anything yet; it is for those who bring their own.
  const checks = features.includes("secure-boot") || features.includes("enrolled-keys");
  const isSecure = features.includes("secure-boot") && features.includes("enrolled-keys");
  const serves = targets.some(
    ({ architecture, machines }) =>
      architecture === ARCHITECTURE && machines.some((pattern) => path.matchesGlob(wanted.machine, pattern)),
  );
  return interfaces.includes("uefi") && serves && (wanted.secureBoot ? isSecure : !checks);
}

async function sizesOf(code: string, varsTemplate: string): Promise<FirmwareSizes | undefined> {
  const found = await Promise.all([code, varsTemplate].map((file) => stat(file).catch(() => undefined)));
  const [codeFile, varsFile] = found;
  return codeFile?.isFile() && varsFile?.isFile() ? { codeBytes: codeFile.size, varsBytes: varsFile.size } : undefined;
}

function hasSizes(sizes: FirmwareSizes, wanted: Partial<FirmwareSizes>): boolean {
  const { codeBytes = sizes.codeBytes, varsBytes = sizes.varsBytes } = wanted;
  return sizes.codeBytes === codeBytes && sizes.varsBytes === varsBytes;
}
