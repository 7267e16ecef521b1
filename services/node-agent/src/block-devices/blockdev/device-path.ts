/** Which device of the node a path names: strictly one below /dev, wherever symbolic links lead. */
import { realpath, stat } from "node:fs/promises";
import path from "node:path";
import { BlockDeviceError } from "@gannet/errors";
import type { LogicalId } from "@gannet/objects";
import { isErrno } from "../../errno.ts";

/** First part of the logical id; the only one there is. */
const DRIVER = "manual";
const DEVICES = "/dev/";
const PATH_LIMIT_BYTES = 4095;

/**
 * Undefined when nothing is there.
 * @param deviceFolder - what this node has in the place of /dev
 * @throws BlockDeviceError when the path is none below /dev, leads out of it, or to what cannot be a disk
 */
export async function findDevice(
  logicalId: LogicalId,
  deviceFolder: string,
  name: string,
): Promise<{ readonly path: string; readonly realPath: string; readonly kind: "block" | "file" } | undefined> {
  const devicePath = path.join(deviceFolder, path.relative(DEVICES, namedPath(logicalId, name)));
  try {
    const [realFolder, realPath] = await Promise.all([realpath(deviceFolder), realpath(devicePath)]);
    if (!realPath.startsWith(`${realFolder}/`))
      throw new BlockDeviceError(`${name} leads to ${realPath}, which is not below ${DEVICES}`);
    // Only looked at: to open a character device can have effects, of a watchdog that the node is rebooted.
    const entry = await stat(realPath);
    if (entry.isBlockDevice()) return { path: devicePath, realPath, kind: "block" };
    // A regular file is a block device only to simulated tools; blockdev(8) says whether it is.
    if (entry.isFile()) return { path: devicePath, realPath, kind: "file" };
    throw new BlockDeviceError(`${name} is no block device`);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    if (isErrno(error, "ELOOP", "ENAMETOOLONG", "EACCES"))
      throw new BlockDeviceError(`${name} cannot be looked at: ${error.code}`, { cause: error });
    throw error;
  }
}

/** @throws BlockDeviceError when the text alone shows that it names no device */
function namedPath(logicalId: LogicalId, name: string): string {
  const [driver, target, ...rest] = logicalId;
  if (driver !== DRIVER || typeof target !== "string" || rest.length > 0)
    throw new BlockDeviceError(`${name}: the logical id of a blockdev disk is [${DRIVER}, path]`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const isPlain = !/[\u0000-\u001f\u007f]/.test(target) && Buffer.byteLength(target) <= PATH_LIMIT_BYTES;
  if (!isPlain || !target.startsWith(DEVICES) || path.normalize(target) !== target || target.endsWith("/"))
    throw new BlockDeviceError(`${name}: only a plain path below ${DEVICES} can be a disk`);
  return target;
}
