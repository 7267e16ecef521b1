/** What the device model of a guest has printed: of its end `xl` tells no more than that it has ended. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { undefinedWhenMissing } from "../../errno.ts";
import { fileTail } from "../../file-tail.ts";

const MOST_BYTES = 1024;
/** Files are dated by a clock that is some milliseconds late. */
const CLOCK_GRANULARITY_MS = 50;

/**
 * Empty when it has printed nothing since. Each start of a guest has a log of its own.
 * @param logFolder - xl.conf(5) and libxl have no other than /var/log/xen
 */
export async function deviceModelLog(logFolder: string, guestName: string, sinceMs: number): Promise<string> {
  const file = path.join(logFolder, `qemu-dm-${guestName}.log`);
  const found = await stat(file).catch(undefinedWhenMissing);
  if (found === undefined || found.mtimeMs < sinceMs - CLOCK_GRANULARITY_MS) return "";
  return (await fileTail(file, MOST_BYTES)).trim();
}
