/** Makes a .deb of a folder by dpkg-deb, the same bytes each time. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, lstat, lutimes, mkdir, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import type { CommandRunner } from "@gannet/exec";

const DPKG_DEB = "/usr/bin/dpkg-deb";
const BUILD_TIMEOUT_MS = 10 * 60_000;

export interface ArchiveRequest {
  /** Holds the package's files as they are to be installed; gets a folder DEBIAN. */
  readonly tree: string;
  /** Fields of the control file, without Installed-Size. */
  readonly control: Readonly<Record<string, string>>;
  /** By their names, `postinst` for one. */
  readonly maintainerScripts: Readonly<Record<string, string>>;
  readonly configurationFiles: readonly string[];
  readonly epoch: number;
  /** The .deb to be written. */
  readonly file: string;
  /** `none` where only what is in it matters. */
  readonly compression: "zstd" | "none";
  readonly runner: CommandRunner;
}

export async function makeArchive(request: ArchiveRequest): Promise<void> {
  const files = await filesBelow(request.tree);
  const debian = path.join(request.tree, "DEBIAN");
  await mkdir(debian, { mode: 0o755 });
  const write = async (name: string, text: string, mode: number) => {
    await writeFile(path.join(debian, name), text);
    await chmod(path.join(debian, name), mode);
  };
  const sizeKib = files.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / 1024), 0);
  await write("control", controlText({ ...request.control, "Installed-Size": String(sizeKib) }), 0o644);
  const sums: string[] = [];
  for (const { name, isLink } of files)
    if (!isLink) sums.push(`${await md5(path.join(request.tree, name))}  ${name}\n`);
  await write("md5sums", sums.join(""), 0o644);
  if (request.configurationFiles.length > 0)
    await write("conffiles", request.configurationFiles.map((file) => `${file}\n`).join(""), 0o644);
  for (const [name, text] of Object.entries(request.maintainerScripts)) await write(name, text, 0o755);
  await setTimes(request.tree, request.epoch);
  await request.runner.run({
    argv: [
      ...([DPKG_DEB, "--root-owner-group"] as const),
      // One thread: the bytes must not depend on the machine.
      ...(request.compression === "none" ? ["-Znone"] : ["-Zzstd", "-z9", "--threads-max=1"]),
      ...["--build", request.tree, request.file],
    ],
    env: { SOURCE_DATE_EPOCH: String(request.epoch) },
    timeoutMs: BUILD_TIMEOUT_MS,
  });
}

function controlText(fields: Readonly<Record<string, string>>): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}: ${value}\n`)
    .join("");
}

interface TreeFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly isLink: boolean;
}

/** Sorted by name, folders left out. */
async function filesBelow(tree: string): Promise<readonly TreeFile[]> {
  const entries = await readdir(tree, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(tree, path.join(entry.parentPath, entry.name)))
    .sort();
  return await Promise.all(
    files.map(async (name) => {
      const stat = await lstat(path.join(tree, name));
      return { name, sizeBytes: stat.size, isLink: stat.isSymbolicLink() };
    }),
  );
}

/** dpkg-deb only makes younger files older. */
async function setTimes(tree: string, epoch: number): Promise<void> {
  for (const name of await readdir(tree, { recursive: true })) await lutimes(path.join(tree, name), epoch, epoch);
  await lutimes(tree, epoch, epoch);
}

async function md5(file: string): Promise<string> {
  const hash = createHash("md5");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
