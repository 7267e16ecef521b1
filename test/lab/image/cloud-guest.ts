/** A Debian that cloud-init sets up at its first boot, as the cloud images of distributions are made. */
import { createHash } from "node:crypto";
import { copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { bootstrap, builtOnce } from "./build.ts";

/** Files in the folder that {@link cloudGuest} answers. */
export const CLOUD_GUEST_FILES = { image: "debian.qcow2", kernel: "vmlinuz", initramfs: "initrd.img" } as const;

const SUITE = "bookworm";
const PACKAGES = ["linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "cloud-init", "zstd"];
const SIZE_MIB = 1_024;
/** The image has a partition table of the kind GPT, with a megabyte in front of its one partition. */
const FIRST_SECTOR = 2_048;
const SECTOR_BYTES = 512;
const MINUTE_MS = 60_000;

/** @returns the folder with its files, from the cache where they are there */
export async function cloudGuest({
  cacheDir,
  runner,
  tell,
}: {
  readonly cacheDir: string;
  readonly runner: CommandRunner;
  readonly tell: (text: string) => void;
}): Promise<string> {
  const text = await readFile(import.meta.filename);
  const key = `cloud-guest-${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
  return await builtOnce({ cacheDir, key, tell }, async (work, made) => {
    const root = path.join(work, "root");
    await bootstrap({ suite: SUITE, packages: PACKAGES, root, work }, runner);
    for (const [file, name] of [
      [CLOUD_GUEST_FILES.kernel, "vmlinuz-"],
      [CLOUD_GUEST_FILES.initramfs, "initrd.img-"],
    ] as const) {
      const found = (await readdir(path.join(root, "boot"))).find((each) => each.startsWith(name));
      if (found === undefined) throw new Error(`the kernel's package brought no ${name}*`);
      await copyFile(path.join(root, "boot", found), path.join(made, file));
    }
    // Without it the root stays read-only, which is how the kernel mounts it.
    await writeFile(path.join(root, "etc/fstab"), "/dev/vda1 / ext4 defaults 0 1\n");
    for (const folder of ["var/cache/apt", "var/lib/apt/lists"]) await rm(path.join(root, folder), { recursive: true });
    await makeDisk(root, { raw: path.join(work, "disk.raw"), image: path.join(made, CLOUD_GUEST_FILES.image) }, runner);
  });
}

async function makeDisk(root: string, { raw, image }: { raw: string; image: string }, runner: CommandRunner) {
  const run = (...argv: [string, ...string[]]) => runner.run({ argv, timeoutMs: 5 * MINUTE_MS });
  await run("/usr/bin/truncate", `--size=${SIZE_MIB}M`, raw);
  await runner.run({
    argv: ["/usr/sbin/sfdisk", "--quiet", raw],
    input: `label: gpt\nstart=${FIRST_SECTOR}, type=linux\n`,
    timeoutMs: MINUTE_MS,
  });
  const offset = `offset=${FIRST_SECTOR * SECTOR_BYTES}`;
  await run("/usr/sbin/mkfs.ext4", "-q", "-m", "0", "-E", offset, "-d", root, raw, `${SIZE_MIB - 2}M`);
  await run("/usr/bin/qemu-img", "convert", "-O", "qcow2", raw, image);
}
