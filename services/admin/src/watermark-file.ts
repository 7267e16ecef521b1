/**
 * A master's note of how far its cluster had come (watermark.json in its state folder). A master refuses a Redis that
 * holds less; whoever replaces what Redis holds on purpose has to see to the note, too.
 */
import { readFile, rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";

const FILE = "watermark.json";

const watermark = z.looseObject({
  cluster: z.string().optional(),
  epoch: z.int().nonnegative(),
  configurationSerial: z.int().nonnegative(),
  lastJob: z.int().nonnegative(),
});
export type KnownMarks = z.infer<typeof watermark>;

/** Undefined when there is none, or nothing can be learnt from it. */
export async function readWatermark(stateDir: string): Promise<KnownMarks | undefined> {
  const text = await readFile(path.join(stateDir, FILE), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return watermark.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The master then takes what Redis holds for all that there is, and notes it anew. */
export async function forgetWatermark(stateDir: string): Promise<void> {
  await rm(path.join(stateDir, FILE), { force: true });
}
