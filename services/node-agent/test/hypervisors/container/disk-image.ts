/** Disks with a small system for containers: an ext4 file system with busybox in it. */
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestDisk } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { uuidOf } from "../node-fixture.ts";

/** What starts and stops chroot guests: one process that goes on. Names of processes would mean the whole node's. */
const SCRIPTS: Readonly<Record<string, string>> = {
  "ganeti-chroot": `#!/bin/busybox sh
case "$1" in
  start)
    test -e /dev/null || /bin/busybox mknod /dev/null c 1 3
    /bin/busybox sleep 1000 >/dev/null 2>&1 &
    echo $! > /pid ;;
  stop)
    test ! -e /deaf && kill "$(/bin/busybox cat /pid)" ;;
esac
`,
  broken: `#!/bin/busybox sh
echo "this system is broken" >&2
exit 7
`,
};

const runner = createCommandRunner({ logger: silentLogger() });

/** @param folder - where the image is made */
export async function makeDiskImage(folder: string, extra: Readonly<Record<string, string>> = {}): Promise<GuestDisk> {
  const root = await mkdtemp(path.join(folder, "root-"));
  for (const name of ["bin", "proc", "sys", "dev"]) await mkdir(path.join(root, name));
  await copyFile("/bin/busybox", path.join(root, "bin/busybox"));
  for (const [name, text] of Object.entries({ ...SCRIPTS, ...extra })) {
    await writeFile(path.join(root, name), text);
    await chmod(path.join(root, name), 0o755);
  }
  const file = `${root}.img`;
  await runner.run({ argv: ["/usr/sbin/mkfs.ext4", "-q", "-F", "-d", root, file, "8M"], timeoutMs: 30_000 });
  await rm(root, { recursive: true });
  return {
    uuid: uuidOf("disk"),
    index: 0,
    name: null,
    path: file,
    kind: "file",
    format: "raw",
    access: "rw",
    sizeMib: 8,
  };
}
