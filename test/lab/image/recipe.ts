/** What the root image of the lab's nodes is made of. Everything here is part of the key under which it is cached. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";

export interface ImageRecipe {
  readonly name: "base" | "xen" | "systemd";
  /**
   * Who is the first process. `lab`: the lab's node-init, over a root that nobody writes, with the repository's Node.
   * `systemd`: a Debian as its packages leave it, with room for others, in a file system that bears a power cut.
   */
  readonly init: "lab" | "systemd";
  readonly suite: string;
  readonly packages: readonly string[];
  /** Meta package of the kernel; not the cloud kernel, which lacks 9p and cannot be Xen's domain 0. */
  readonly kernelPackage: string;
  /** Modules that the initramfs loads, in this order, each after those it needs. */
  readonly initramfsModules: readonly string[];
  /** Folders below the kernel's modules that no node of the lab has use for: two thirds of their size. */
  readonly prunedModules: readonly string[];
}

const BASE: ImageRecipe = {
  name: "base",
  init: "lab",
  suite: "bookworm",
  packages: [
    ...["lvm2", "drbd-utils", "qemu-system-x86", "qemu-utils", "thin-provisioning-tools"],
    ...["iproute2", "iputils-ping", "bridge-utils", "socat", "openssl", "kmod", "udev"],
    ...["busybox-static", "procps", "psmisc", "e2fsprogs", "util-linux", "fdisk", "zstd", "swtpm", "lxc"],
    "ganeti-instance-debootstrap",
  ],
  kernelPackage: "linux-image-amd64",
  initramfsModules: [
    ...["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay"],
    ...["9pnet_virtio", "9p", "virtio_net", "virtio_console"],
  ],
  prunedModules: [
    ...["sound", "drivers/gpu", "drivers/media", "drivers/iio", "drivers/staging", "drivers/infiniband"],
    ...["drivers/usb", "drivers/hid", "drivers/input", "drivers/mmc", "drivers/bluetooth", "drivers/platform"],
    ...["drivers/net/wireless", "drivers/net/ethernet", "drivers/scsi", "net/bluetooth", "net/wireless"],
    ...["net/mac80211", "fs/ocfs2", "fs/btrfs", "fs/ceph", "fs/smb", "fs/nfs", "fs/nfsd", "fs/xfs", "fs/f2fs"],
  ],
};

/** Xen's hypervisor and tools come to the base: the same nodes, booted as domain 0. */
const XEN: ImageRecipe = {
  ...BASE,
  name: "xen",
  packages: [...BASE.packages, "xen-hypervisor-4.17-amd64", "xen-utils-4.17", "qemu-system-xen"],
  // Disks and network cards of a guest of Xen, which boots with the same archive.
  initramfsModules: [...BASE.initramfsModules, "xen-blkfront", "xen-netfront"],
};

/** A machine on which the packages are installed as an operator does it; what they depend on is there. */
const SYSTEMD: ImageRecipe = {
  ...BASE,
  name: "systemd",
  init: "systemd",
  packages: [
    ...["systemd-sysv", "dbus", "udev", "kmod", "procps", "e2fsprogs", "util-linux", "busybox-static", "iputils-ping"],
    ...["redis-server", "openssl", "socat", "iproute2", "libstdc++6", "logrotate"],
    ...["lvm2", "qemu-system-x86", "qemu-utils", "iputils-arping"],
  ],
};

export const IMAGE_RECIPES: Readonly<Record<ImageRecipe["name"], ImageRecipe>> = {
  base: BASE,
  xen: XEN,
  systemd: SYSTEMD,
};

/** Files whose text decides what the image is, besides the recipe. */
const SOURCES = ["unpack-kernel", "build.ts", "kernel.ts", "modules.ts"].map((name) =>
  path.join(import.meta.dirname, name),
);

/** Of the recipe and the code that follows it: another key, another image. */
export async function recipeKey(recipe: ImageRecipe): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(recipe)).update(process.version);
  for (const file of SOURCES) hash.update(await readFile(file));
  return `${recipe.name}-${hash.digest("hex").slice(0, 16)}`;
}
