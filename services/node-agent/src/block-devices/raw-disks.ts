/** Disks of a guest for a program that takes each for a block device, or for a file that holds what one would. */
import type { GuestDisk } from "@gannet/driver-contract";
import type { DiskContents } from "./disk-contents.ts";

/** What the work has written stays, unless it fails. @throws BlockDeviceError, and what the work throws */
export async function withRawDisks(
  contents: Pick<DiskContents, "rawView">,
  disks: readonly GuestDisk[],
  signal: AbortSignal,
  work: (disks: readonly GuestDisk[]) => Promise<void>,
): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const views = [];
  const raw: GuestDisk[] = [];
  for (const disk of disks) {
    if (disk.format === "raw") raw.push(disk);
    else {
      const view = opened.use(await contents.rawView(disk, signal));
      views.push(view);
      raw.push({ ...disk, path: view.disk.path, format: view.disk.format });
    }
  }
  await work(raw);
  for (const view of views) await view.keep(signal);
}
