/** Reads `drbdsetup get-gi`: by which generations of the data two ends know which of them is newer. */
import { BlockDeviceError } from "@gannet/errors";

export interface Generations {
  readonly current: string;
  /** Of what the ends had in common when they parted; undefined while this end has not gone on by itself since. */
  readonly bitmap: string | undefined;
  readonly history: readonly string[];
}

/** The current generation of metadata that nothing was written under yet (DRBD's `UUID_JUST_CREATED`). */
export const JUST_CREATED = "0000000000000004";
const NONE = "0000000000000000";

/** @throws BlockDeviceError when it is not what drbdsetup prints */
export function parseGenerations(text: string): Generations {
  const [current, bitmap, ...rest] = text.trim().split(":");
  if (![current, bitmap, ...rest.slice(0, 2)].every((each) => each !== undefined && /^[0-9A-F]{16}$/.test(each)))
    throw new BlockDeviceError(`The kernel's DRBD shows no generations: ${JSON.stringify(text.slice(0, 200))}`);
  return {
    current: current ?? NONE,
    bitmap: bitmap === NONE ? undefined : bitmap,
    history: rest.filter((each) => /^[0-9A-F]{16}$/.test(each)),
  };
}
