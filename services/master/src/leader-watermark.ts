/**
 * How far the cluster had come when this master last looked, on its own disk: what tells a Redis that lost its data,
 * or was started on older ones, from one that has them all.
 */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import path from "node:path";
import { readConfigurationMark } from "@gannet/config-store";
import { ConfigurationError, OpPrereqError } from "@gannet/errors";
import { readLedgerMarks } from "@gannet/job-ledger";
import { presentEpoch } from "@gannet/locking";
import { type Redis, redisUnavailable } from "@gannet/redis";
import { z } from "zod";

const count = z.int().nonnegative();

const marks = z.strictObject({
  /** Names one run of the Redis server; a restart has another. */
  runId: z.string(),
  /** UUID of the cluster; absent when there is none. */
  cluster: z.string().optional(),
  epoch: count,
  configurationSerial: count,
  /** The last job id given out. */
  lastJob: count,
  /** How many changes of jobs there have been. */
  jobChanges: count,
});
/** What only grows, as a Redis holds it at one moment. */
export type Marks = z.infer<typeof marks>;

const watermark = marks.extend({
  /** Present while Redis holds less than this: what it held instead, and whether an operator accepted that. */
  loss: z.strictObject({ held: marks, accepted: z.boolean() }).optional(),
});
export type Watermark = z.infer<typeof watermark>;

const FILE = "watermark.json";

const COUNTS = [
  ["epoch", "the leader's epoch"],
  ["configurationSerial", "the configuration's serial"],
  ["lastJob", "the last job's id"],
  ["jobChanges", "the count of changes of jobs"],
] as const satisfies readonly (readonly [keyof Marks, string])[];

/** What `held` lacks of what there was, in words; empty when it has all of it. */
export function missing(before: Marks, held: Marks): readonly string[] {
  if (before.cluster !== undefined && held.cluster === undefined) return ["there is no cluster in it"];
  if (before.cluster !== undefined && before.cluster !== held.cluster)
    return [`it holds another cluster (${held.cluster} instead of ${before.cluster})`];
  return COUNTS.filter(([name]) => held[name] < before[name]).map(
    ([name, what]) => `${what} is ${held[name]} and was ${before[name]}`,
  );
}

/** The furthest of both. */
export function furthest(before: Marks, now: Marks): Marks {
  const counts = Object.fromEntries(COUNTS.map(([name]) => [name, Math.max(before[name], now[name])]));
  return { ...now, ...(counts as Pick<Marks, (typeof COUNTS)[number][0]>) };
}

/** @throws Unavailable */
export async function readMarks(redis: Redis): Promise<Marks> {
  const [server, configuration, epoch, ledger] = await Promise.all([
    redis.info("server").catch((error: unknown) => {
      throw redisUnavailable(error);
    }),
    readConfigurationMark(redis),
    presentEpoch(redis),
    readLedgerMarks(redis),
  ]);
  return {
    runId: /^run_id:(\w+)/m.exec(server)?.[1] ?? "",
    ...(configuration.cluster === undefined ? {} : { cluster: configuration.cluster }),
    epoch,
    configurationSerial: configuration.serial,
    lastJob: ledger.lastJob,
    jobChanges: ledger.changes,
  };
}

/** The file below a master's state folder. */
export class WatermarkFile {
  readonly path: string;
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.path = path.join(folder, FILE);
  }

  /** @param folder - made when it is missing, for this user only */
  static async below(folder: string): Promise<WatermarkFile> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new WatermarkFile(folder);
  }

  /** Undefined before the first. @throws ConfigurationError when it holds something else */
  async read(): Promise<Watermark | undefined> {
    const text = await readFile(this.path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (text === undefined) return undefined;
    try {
      return watermark.parse(JSON.parse(text));
    } catch (cause) {
      throw new ConfigurationError(
        `${this.path} is damaged; when Redis is known to have all its data, remove the file`,
        { cause },
      );
    }
  }

  /** On disk when it resolves; a crash leaves the old content or the new. */
  async write(content: Watermark): Promise<void> {
    const next = `${this.path}.next`;
    await using handle = await open(next, "w", 0o600);
    await handle.writeFile(`${JSON.stringify(content, null, 2)}\n`);
    await handle.sync();
    await rename(next, this.path);
    await using folder = await open(this.#folder);
    await folder.sync();
  }
}

/**
 * An operator's word that the data will not come back, for the master that runs or the next one.
 * @returns what was lost, in words
 * @throws OpPrereqError when this master has noticed no loss
 */
export async function acceptLoss(file: WatermarkFile): Promise<readonly string[]> {
  const before = await file.read();
  if (before?.loss === undefined)
    throw new OpPrereqError(`${file.path} tells of no loss of data that could be accepted`, "wrong_state");
  await file.write({ ...before, loss: { ...before.loss, accepted: true } });
  return missing(before, before.loss.held);
}
