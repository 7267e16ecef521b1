/** The command lines of rbd(8), and what it prints (spec/node-ops.json, `storage.rbd`). */
import { BlockDeviceError } from "@gannet/errors";
import { z } from "zod";

/** Where an image is, and as whom it is reached. */
export interface RbdImage {
  readonly pool: string;
  readonly name: string;
  /** Empty for the node's own user. */
  readonly user: string;
}

export type RbdCommand = readonly string[];

const asUser = ({ user }: RbdImage): readonly string[] => (user === "" ? [] : ["--id", user]);

export function createImage(image: RbdImage, sizeMib: number): RbdCommand {
  return ["create", ...asUser(image), "-p", image.pool, image.name, "--size", String(sizeMib)];
}

export function removeImage(image: RbdImage): RbdCommand {
  return ["rm", ...asUser(image), "-p", image.pool, image.name];
}

export function resizeImage(image: RbdImage, sizeMib: number): RbdCommand {
  return ["resize", ...asUser(image), "-p", image.pool, image.name, "--size", String(sizeMib)];
}

export function mapImage(image: RbdImage): RbdCommand {
  return ["map", ...asUser(image), "-p", image.pool, image.name];
}

export function unmapDevice(device: string): RbdCommand {
  return ["unmap", device];
}

export function describeImage(image: RbdImage): RbdCommand {
  return ["info", ...asUser(image), "-p", image.pool, image.name, "--format", "json"];
}

/** All of the node; a pool on the line would change nothing, because the kernel is asked. */
export function listMapped(): RbdCommand {
  return ["showmapped", "--format", "json"];
}

/** How qemu reaches an image by itself. */
export function imageUri({ pool, name, user }: RbdImage): string {
  return `rbd:${pool}/${name}${user === "" ? "" : `:id=${user}`}`;
}

const mapped = z.object({ pool: z.string(), name: z.string(), snap: z.string().optional(), device: z.string() });
/** A list, or in older releases an object by id. */
const mappings = z.union([z.array(mapped), z.record(z.string(), mapped).transform((byId) => Object.values(byId))]);

/**
 * The device that an image is mapped to; snapshots of it are others.
 * @throws BlockDeviceError when it is no list of mappings, or tells of two
 */
export function parseMapped(stdout: string, { pool, name }: RbdImage): string | undefined {
  const found = parseJson("showmapped", mappings, stdout).filter(
    (each) => each.pool === pool && each.name === name && ["", "-", undefined].includes(each.snap),
  );
  if (found.length > 1)
    throw new BlockDeviceError(`Image ${pool}/${name} is mapped to ${found.map(({ device }) => device).join(" and ")}`);
  return found[0]?.device;
}

/** In bytes. @throws BlockDeviceError when it is no description of an image */
export function parseImageSize(stdout: string): number {
  return parseJson("info", z.object({ size: z.int().nonnegative() }), stdout).size;
}

/** @throws BlockDeviceError when it names no device */
export function parseMapping(stdout: string): string {
  const device = stdout.trim();
  if (/^\/dev\/rbd[0-9]+$/.test(device)) return device;
  throw new BlockDeviceError(`rbd map printed no device: ${JSON.stringify(stdout.slice(0, 200))}`);
}

function parseJson<Output>(what: string, schema: z.ZodType<Output>, stdout: string): Output {
  try {
    return schema.parse(JSON.parse(stdout));
  } catch (error) {
    throw new BlockDeviceError(`What rbd ${what} printed is not understood: ${stdout.trim().slice(0, 200)}`, {
      cause: error,
    });
  }
}
