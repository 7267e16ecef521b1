/**
 * The disk by which a machine that installs an instance from inside learns what to do, and tells how that went
 * (deploy/install-image/README). It holds secrets: whoever made it overwrites it before it is removed.
 */
import { open, readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { HypervisorName } from "@gannet/objects";
import type { OsDefinition } from "./definition.ts";
import type { Environment } from "./environment.ts";
import { lastLinesOf } from "./script-log.ts";
import { TAR_END, tarEntry } from "./tar.ts";

/** The folder that the archive is; these are the disk's first bytes. */
const FOLDER = "gannet-install/";
const BYTES_PER_MIB = 1024 * 1024;
const MAX_DEPTH = 16;
const MAX_ENTRIES = 4096;
/** The first line of a result, and as much of the output as is looked at. */
const RESULT = /^gannet-result (\d{1,3}) (\d{1,7})\n/;
const RESULT_BYTES = 64 * 1024;

/** What Linux calls the first disk inside a guest, but for its letter. */
const DISK_PREFIX: Partial<Readonly<Record<HypervisorName, string>>> = { "xen-hvm": "xvd", "xen-pvm": "xvd" };
const LETTERS = "abcdefghijklmnopqrstuvwxyz";

/** The instance as the machine sees it: its disks stand behind the machine's own. */
export function seenFromInside(guest: GuestSpec): GuestSpec {
  const prefix = DISK_PREFIX[guest.hypervisor] ?? "vd";
  const disks = guest.disks.map((disk, index) => ({
    ...disk,
    path: `/dev/${prefix}${LETTERS[index + 1]}`,
    uris: {},
  }));
  return { ...guest, disks };
}

/**
 * Write the definition's whole folder and its script's environment.
 * @param disk - a block device, or a file that holds what one would
 * @throws OpPrereqError (environment_error) when the definition does not fit, or holds other than files and folders
 */
export async function writeInstallation(
  disk: { readonly path: string; readonly sizeMib: number },
  { definition, environment }: { readonly definition: OsDefinition; readonly environment: Environment },
): Promise<void> {
  const parts = [
    tarEntry({ name: `${FOLDER}environment`, mode: 0o600, contents: environmentFile(environment) }),
    ...(await folderEntries(definition, { limitBytes: disk.sizeMib * BYTES_PER_MIB })),
    TAR_END,
  ];
  const archive = Buffer.concat(parts);
  if (archive.length > disk.sizeMib * BYTES_PER_MIB) throw tooLarge(definition, disk.sizeMib);
  await using file = await open(disk.path, "r+");
  await file.writeFile(archive);
  await file.sync();
}

/**
 * @param secrets - stay out of the error
 * @throws OpExecError unless the script ended well
 */
export async function checkInstallation(
  disk: { readonly path: string },
  { os, secrets }: { readonly os: string; readonly secrets: readonly string[] },
): Promise<void> {
  await using file = await open(disk.path, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(RESULT_BYTES), 0, RESULT_BYTES, 0);
  const found = buffer.subarray(0, bytesRead);
  const [line = "", code = "", length = ""] = RESULT.exec(found.toString("latin1", 0, 32)) ?? [];
  if (line === "")
    throw new OpExecError(
      `The machine that was to run the create_untrusted script of OS ${os} ended without telling how the script did: ` +
        "does the cluster's install_image keep to what Gannet asks of one?",
    );
  if (code === "0") return;
  const printed = lastLinesOf(found.toString("utf8", line.length, line.length + Number(length)), secrets);
  const end = printed === "" ? "It printed nothing." : `Its last lines:\n${printed}`;
  throw new OpExecError(`The create_untrusted script of OS ${os} failed with exit code ${code}. ${end}`);
}

/** To be read by a shell's `.`; names are letters, digits and underscores. */
function environmentFile(environment: Environment): Buffer {
  const lines = Object.entries(environment).map(
    ([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'\n`,
  );
  return Buffer.from(lines.join(""));
}

/** The files of a definition, whatever links lead to them. */
async function folderEntries(
  definition: OsDefinition,
  { limitBytes }: { readonly limitBytes: number },
): Promise<readonly Buffer[]> {
  const entries: Buffer[] = [];
  let bytes = 0;
  const add = (entry: Buffer) => {
    bytes += entry.length;
    entries.push(entry);
    if (bytes > limitBytes || entries.length > MAX_ENTRIES) throw tooLarge(definition, limitBytes / BYTES_PER_MIB);
  };
  const walk = async (folder: string, name: string, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH) throw tooLarge(definition, limitBytes / BYTES_PER_MIB);
    add(tarEntry({ name, mode: 0o755, contents: Buffer.alloc(0) }));
    for (const entry of (await readdir(folder)).sort()) {
      const place = path.join(folder, entry);
      const found = await stat(place);
      if (found.isDirectory()) await walk(place, `${name}${entry}/`, depth + 1);
      else if (!found.isFile()) throw new RangeError(`${place} is no file`);
      else if (found.size > limitBytes) throw tooLarge(definition, limitBytes / BYTES_PER_MIB);
      else add(tarEntry({ name: `${name}${entry}`, mode: found.mode & 0o777, contents: await readFile(place) }));
    }
  };
  try {
    await walk(definition.path, `${FOLDER}os/`, 0);
    return entries;
  } catch (cause) {
    if (cause instanceof OpPrereqError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OpPrereqError(`OS ${definition.name} cannot be given to a machine: ${why}`, "environment_error", {
      cause,
    });
  }
}

function tooLarge({ name }: OsDefinition, sizeMib: number): OpPrereqError {
  return new OpPrereqError(
    `The files of OS ${name} do not fit onto the disk of ${sizeMib} MiB by which a machine is given them`,
    "environment_error",
  );
}
