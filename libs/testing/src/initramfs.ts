/** A root file system of one busybox, for booting a real kernel in a guest of a test. */
import { access, chmod, copyFile, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";

/** A statically linked busybox: Debian's package busybox-static. */
export const BUSYBOX = "/bin/busybox";
const CPIO = "/usr/bin/cpio";

export interface InitramfsOptions {
  readonly runner: CommandRunner;
  /** An existing, empty folder, in which the file system and its archive are made. */
  readonly folder: string;
  /** A line of plain text, printed on the console when the guest is up and every second until it is spoken to. */
  readonly greeting: string;
  /** Kernel modules to load, in this order. */
  readonly modules?: readonly string[];
}

/**
 * The guest greets on its console, answers each line with `you said: <line>`, obeys the lines `poweroff` and
 * `reboot`, and runs what follows the word `run` in its shell. With the modules `button` and `evdev` it powers off when its ACPI power button is pressed.
 * @returns the path of the archive, to be a kernel's initrd
 * @throws CommandError
 */
export async function buildInitramfs(options: InitramfsOptions): Promise<string> {
  const root = path.join(options.folder, "root");
  const archive = path.join(options.folder, "initramfs.cpio");
  for (const folder of ["bin", "dev", "etc/acpi/PWRF", "modules", "proc", "sys"]) {
    await mkdir(path.join(root, folder), { recursive: true });
  }
  await copyFile(BUSYBOX, path.join(root, "bin/busybox"));
  await symlink("busybox", path.join(root, "bin/sh"));
  for (const [index, module] of (options.modules ?? []).entries()) {
    await copyFile(module, path.join(root, "modules", `${String(index).padStart(3, "0")}.ko`));
  }
  await writeScript(path.join(root, "init"), initScript(options.greeting));
  // Where busybox's acpid looks for what to do when the power button is pressed.
  await writeScript(path.join(root, "etc/acpi/PWRF/00000080"), "#!/bin/sh\nexec /bin/busybox poweroff -f\n");
  await options.runner.run({
    argv: [CPIO, "--create", "--format=newc", "--quiet", "--owner=+0:+0", `--file=${archive}`],
    cwd: root,
    input: `${(await readdir(root, { recursive: true })).sort().join("\n")}\n`,
    timeoutMs: 30_000,
  });
  return archive;
}

/** A stock kernel of this machine, and its modules that {@link buildInitramfs} has use for. */
export interface StockKernel {
  readonly path: string;
  readonly modules: readonly string[];
}

/** What keeps a test from booting a stock kernel here is told in words. */
export async function findStockKernel(): Promise<StockKernel | { readonly missing: string }> {
  const kernels = (await readdir("/boot").catch(() => [])).filter((name) => /^vmlinuz-.*-amd64$/.test(name)).sort();
  const kernel = kernels.at(-1);
  if (kernel === undefined) return { missing: "there is no kernel /boot/vmlinuz-*-amd64" };
  for (const program of [BUSYBOX, CPIO]) {
    const found = await isThere(program);
    if (!found) return { missing: `there is no ${program}` };
  }
  const modules = await loadOrder(path.join("/lib/modules", kernel.replace("vmlinuz-", "")), WANTED_MODULES);
  return { path: path.join("/boot", kernel), modules };
}

/** The power button, and what a guest has on the virtio bus: disks, SCSI disks too, a network card and a balloon. */
const WANTED_MODULES = [
  "button",
  "evdev",
  "virtio_pci",
  "virtio_blk",
  "virtio_net",
  "virtio_scsi",
  "sd_mod",
  "virtio_balloon",
];

/** Each module after those that it needs (modules.dep(5)). Those that are built into the kernel are not there. */
async function loadOrder(folder: string, wanted: readonly string[]): Promise<readonly string[]> {
  const table = await readFile(path.join(folder, "modules.dep"), "utf8").catch(() => "");
  const needs = new Map<string, readonly string[]>();
  for (const line of table.split("\n")) {
    const [module = "", ...needed] = line
      .replace(":", "")
      .split(" ")
      .filter((name) => name !== "");
    needs.set(path.basename(module, ".ko"), [...needed.reverse(), module]);
  }
  const files = wanted.flatMap((name) => needs.get(name) ?? []);
  return [...new Set(files)].map((file) => path.join(folder, file));
}

function initScript(greeting: string): string {
  const quoted = `'${greeting.replaceAll("'", "'\\''")}'`;
  return `#!/bin/sh
export PATH=/bin
busybox mount -t devtmpfs none /dev
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
exec </dev/console >/dev/console 2>&1
for module in /modules/*.ko; do
  test -e "$module" && busybox insmod "$module"
done
busybox acpid -f -c /etc/acpi -l /dev/null -p /acpid.pid &
echo ${quoted}
until read -t 1 line; do echo ${quoted}; done
while true; do
  echo "you said: $line"
  case "$line" in
    poweroff|reboot) busybox "$line" -f ;;
    'run '*) eval "\${line#run }" ;;
  esac
  read line
done
`;
}

async function writeScript(file: string, text: string): Promise<void> {
  await writeFile(file, text);
  await chmod(file, 0o755);
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
