/** Builds what a lab node boots from, once for each recipe, and keeps it. */
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { type CommandRunner, holdFolder } from "@gannet/exec";
import { contained } from "../contained.ts";
import { extractKernel } from "./kernel.ts";
import { packModules } from "./modules.ts";
import { IMAGE_RECIPES, type ImageRecipe, recipeKey } from "./recipe.ts";

/** Files from which nodes boot; shared by all, written by none. */
export interface NodeImage {
  readonly kernel: string;
  /** Archive of busybox and the modules that an initramfs needs; it lacks the scripts, which change more often. */
  readonly modules: string;
  /** Raw ext4. */
  readonly root: string;
  /** Xen's hypervisor, in the image that has it. */
  readonly xen: string;
}

const MINUTE_MS = 60_000;
/** A mirror may be slow; on two cores all of it takes two minutes. */
const BOOTSTRAP_TIMEOUT_MS = 20 * MINUTE_MS;
const PACKAGE_OPTIONS = [
  '--aptopt=Apt::Install-Recommends "false"',
  '--aptopt=Acquire::Retries "3"',
  ...["man", "doc", "locale", "info"].map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
];
const UNPACK_KERNEL = path.join(import.meta.dirname, "unpack-kernel");
/** No service may start while packages are installed. mmdebstrap removes it at its end. */
const NO_SERVICES = `printf '#!/bin/sh\\nexit 101\\n' >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"`;

interface FileSystem {
  /** Arguments of mkfs.ext4. */
  readonly features: readonly string[];
  /** Beside what is in it, and what its structures need. */
  readonly roomMib: number;
}

/** That which nobody writes has no journal, and no room. */
const FILE_SYSTEMS: Readonly<Record<ImageRecipe["init"], FileSystem>> = {
  lab: { features: ["-O", "^has_journal,^metadata_csum"], roomMib: 64 },
  systemd: { features: [], roomMib: 1024 },
};

/**
 * The image of a recipe, from the cache where it is there.
 * @param cacheDir - holds one folder for each recipe's key
 * @param tell - told that it has to be built
 */
export async function nodeImage(
  name: ImageRecipe["name"],
  {
    cacheDir,
    runner,
    tell,
  }: { readonly cacheDir: string; readonly runner: CommandRunner; readonly tell: (text: string) => void },
): Promise<NodeImage> {
  const recipe = IMAGE_RECIPES[name];
  const folder = await builtOnce({ cacheDir, key: await recipeKey(recipe), tell }, (work, made) =>
    build(recipe, work, filesOf(made), runner),
  );
  return filesOf(folder);
}

/**
 * A folder that takes long to make and is kept under its key.
 * @param make - is given a folder to work in, and the one to fill
 */
export async function builtOnce(
  { cacheDir, key, tell }: { readonly cacheDir: string; readonly key: string; readonly tell: (text: string) => void },
  make: (work: string, made: string) => Promise<void>,
): Promise<string> {
  const folder = path.join(cacheDir, key);
  if (await isThere(folder)) return folder;
  tell(`building ${key}: it is not in ${cacheDir} yet`);
  await mkdir(cacheDir, { recursive: true, mode: 0o755 });
  const release = await holdFolder(cacheDir, "builder of lab images");
  await removeUnfinished(cacheDir);
  const work = await mkdtemp(path.join(cacheDir, "unfinished-"));
  try {
    const made = path.join(work, "image");
    await mkdir(made, { mode: 0o755 });
    await make(work, made);
    await rename(made, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
    release();
  }
  return folder;
}

async function build(recipe: ImageRecipe, work: string, image: NodeImage, runner: CommandRunner): Promise<void> {
  const root = path.join(work, "root");
  await bootstrap({ ...recipe, hooks: [`--customize-hook=${UNPACK_KERNEL}`], root, work }, runner);
  const [kernelVersion] = await readdir(path.join(root, "lib/modules"));
  if (kernelVersion === undefined) throw new Error("the kernel package brought no modules");
  for (const folder of recipe.prunedModules)
    await rm(path.join(root, "lib/modules", kernelVersion, "kernel", folder), { recursive: true, force: true });
  for (const folder of ["var/cache/apt", "var/lib/apt/lists", "usr/share/locale"])
    await rm(path.join(root, folder), { recursive: true, force: true });
  await runner.run({ argv: ["/usr/sbin/depmod", "--basedir", root, kernelVersion], timeoutMs: MINUTE_MS });

  if (recipe.init === "lab") {
    await copyFile(process.execPath, path.join(root, "usr/local/bin/node"));
    await chmod(path.join(root, "usr/local/bin/node"), 0o755);
  } else {
    // Empty, so that each node makes up its own.
    await writeFile(path.join(root, "etc/machine-id"), "");
  }

  await extractKernel(path.join(root, "boot", `vmlinuz-${kernelVersion}`), image.kernel, runner);
  const folder = path.join(work, "initramfs");
  await packModules(recipe.initramfsModules, { root, kernelVersion, folder, archive: image.modules }, runner);
  if (recipe.name === "xen") await extractXen(root, image.xen, runner);
  await rm(path.join(root, "boot"), { recursive: true });
  await makeFileSystem(root, { target: image.root, ...FILE_SYSTEMS[recipe.init] }, runner);
}

/** A folder with the root of a Debian. */
export async function bootstrap(
  {
    suite,
    packages,
    hooks = [],
    root,
    work,
    kernelPackage = "",
  }: Pick<ImageRecipe, "suite" | "packages"> & {
    readonly hooks?: readonly string[];
    readonly root: string;
    readonly work: string;
    readonly kernelPackage?: string;
  },
  runner: CommandRunner,
): Promise<void> {
  await runner.run({
    // Its mounts below the root must not outlive it: what is left of an image is removed recursively.
    argv: contained(
      [
        ...["/usr/bin/mmdebstrap", "--quiet", "--variant=minbase", `--include=${packages.join(",")}`],
        ...PACKAGE_OPTIONS,
        ...[`--essential-hook=${NO_SERVICES}`, ...hooks],
        ...[suite, root],
      ],
      { network: "host" },
    ),
    env: { KERNEL_PACKAGE: kernelPackage, TMPDIR: work },
    timeoutMs: BOOTSTRAP_TIMEOUT_MS,
  });
}

/** Its hypervisor is a gzipped ELF file, which qemu boots uncompressed only. */
async function extractXen(root: string, target: string, runner: CommandRunner): Promise<void> {
  const boot = path.join(root, "boot");
  const name = (await readdir(boot)).find((file) => /^xen-[\d.]+-amd64\.gz$/.test(file));
  if (name === undefined) throw new Error("the package of Xen's hypervisor brought no hypervisor");
  await copyFile(path.join(boot, name), `${target}.gz`);
  await runner.run({ argv: ["/usr/bin/gzip", "--decompress", `${target}.gz`], timeoutMs: MINUTE_MS });
}

async function makeFileSystem(
  root: string,
  { target, features, roomMib }: { readonly target: string } & FileSystem,
  runner: CommandRunner,
): Promise<void> {
  const { stdout } = await runner.run({ argv: ["/usr/bin/du", "-sk", root], timeoutMs: MINUTE_MS });
  const contentMib = Math.ceil(Number.parseInt(stdout, 10) / 1024);
  const sizeMib = Math.ceil(contentMib * 1.15) + roomMib;
  await runner.run({
    argv: ["/usr/sbin/mkfs.ext4", "-q", "-m", "0", ...features, "-d", root, target, `${sizeMib}M`],
    timeoutMs: 5 * MINUTE_MS,
  });
}

function filesOf(folder: string): NodeImage {
  const file = (name: string) => path.join(folder, name);
  return { kernel: file("vmlinux"), modules: file("modules.cpio"), root: file("root.ext4"), xen: file("xen") };
}

/** What a run that was killed left. */
async function removeUnfinished(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir))
    if (name.startsWith("unfinished-")) await rm(path.join(cacheDir, name), { recursive: true, force: true });
}

async function isThere(file: string): Promise<boolean> {
  return await stat(file).then(
    () => true,
    () => false,
  );
}
