/** The guests of Xen: the nodes' own kernel with a script that counts as counter.asm does, and one that only waits. */
import { copyFile, rm } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import type { NodeImage } from "../image/build.ts";
import { writeInitramfs } from "../image/initramfs.ts";
import { assemble } from "./assemble.ts";

const FILES = { kernel: "guest-kernel", initramfs: "guest-initramfs", idle: "xen-idle" } as const;
/** As a node sees the folder it shares with the lab. */
export const XEN_GUEST_KERNEL = `/lab/node/${FILES.kernel}`;
/** Of a guest without disks that needs hardly any memory. */
export const XEN_IDLE_KERNEL = `/lab/node/${FILES.idle}`;
export const XEN_GUEST_INITRAMFS = `/lab/node/${FILES.initramfs}`;

export async function placeXenGuest(nodeDir: string, image: NodeImage, runner: CommandRunner): Promise<void> {
  const folder = path.join(nodeDir, "guest");
  const scripts = { init: path.join(import.meta.dirname, "xen-counter-init") };
  await writeInitramfs(image.modules, { scripts, folder, target: path.join(nodeDir, FILES.initramfs) }, runner);
  await rm(folder, { recursive: true });
  await copyFile(image.kernel, path.join(nodeDir, FILES.kernel));
  await assemble("xen-idle.asm", path.join(nodeDir, FILES.idle), runner);
}
