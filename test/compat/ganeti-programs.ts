/** Programs of Ganeti itself, unchanged, from Debian's package: unpacked, not installed, which would bring its daemons. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";

const PACKAGE = "ganeti-3.0";
const CACHE = path.resolve(import.meta.dirname, "../../node_modules/.cache", PACKAGE);
export const PYTHON = "/usr/bin/python3";

export interface GanetiPrograms {
  /** What PYTHONPATH must be for them. */
  readonly pythonPath: string;
  /** `move-instance`: moves instances from one cluster to another, by both their remote APIs. */
  readonly moveInstance: string;
  /** `import-export`: what Ganeti's nodes run to send a disk's contents and to take it. */
  readonly importExport: string;
}

/** Fetched once. Undefined, with the reason printed, where they cannot be had. */
export async function ganetiPrograms(): Promise<GanetiPrograms | undefined> {
  try {
    if (!existsSync(CACHE)) await unpack();
    const pythonPath = path.join(CACHE, "usr/share/ganeti/3.0");
    const programs = {
      pythonPath,
      moveInstance: path.join(pythonPath, "move-instance"),
      importExport: path.join(pythonPath, "import-export"),
    };
    const env = { ...process.env, PYTHONPATH: pythonPath };
    execFileSync(PYTHON, ["-B", programs.moveInstance, "--help"], { env, stdio: "pipe" });
    return programs;
  } catch (error) {
    console.log(`skipped: Ganeti's own programs cannot be had: ${String(error)}`);
    return undefined;
  }
}

async function unpack(): Promise<void> {
  await mkdir(path.dirname(CACHE), { recursive: true });
  const folder = await mkdtemp(`${CACHE}.new-`);
  try {
    execFileSync("apt-get", ["download", "-qq", PACKAGE], { cwd: folder, stdio: "pipe" });
    const [file] = (await readdir(folder)).filter((name) => name.endsWith(".deb"));
    if (file === undefined) throw new Error(`${PACKAGE} was not downloaded`);
    const files = path.join(folder, "files");
    execFileSync("dpkg-deb", ["-x", path.join(folder, file), files], { stdio: "pipe" });
    await rename(files, CACHE);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
