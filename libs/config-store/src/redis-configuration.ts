/** The configuration's place in Redis: reading all of it, and writing the first one. */
import { ConfigurationError } from "@gannet/errors";
import { FENCE_PRELUDE } from "@gannet/locking";
import type { Entities } from "@gannet/objects";
import { defineScript, EPOCH_KEY, luaFile, type Redis, redisKey, redisUnavailable } from "@gannet/redis";
import { type ConfigRows, ENTITY_KINDS, putsOf, TABLE_KINDS, TABLES } from "./config-rows.ts";
import type { Fence } from "./config-store-contract.ts";
import { checkedRow, parseRow } from "./stored-rows.ts";
import { valueMoves } from "./unique-values.ts";

/** Prefix of every key of the configuration; lua/config-commit.lua describes them. */
export const CONFIG_PREFIX = redisKey("config", "");
const SERIAL_KEY = redisKey("config", "serial");

const initialise = defineScript({
  name: "config-store/initialise",
  lua: luaFile(import.meta.dirname, "lua/config-initialise.lua"),
  keys: 1,
});

const replace = defineScript({
  name: "config-store/replace",
  lua: FENCE_PRELUDE + luaFile(import.meta.dirname, "lua/config-replace.lua"),
  keys: 2,
});

/**
 * Write the configuration of a new cluster, or of one rebuilt from an export (then with the serial it had).
 * Rows that were never stored get serial 1; others keep theirs.
 * @throws ConfigurationConflict when this Redis holds a cluster, or two rows share a name or MAC address;
 *   ConfigurationError when a row is not valid; Unavailable
 */
export async function initialiseConfiguration(redis: Redis, rows: ConfigRows, serial = 1): Promise<void> {
  const { values, args } = storedForm(rows);
  await initialise.run(redis, [CONFIG_PREFIX], [serial, values, ...args]);
}

/**
 * Put a configuration in the place of the one that this Redis holds, or of none. Rows are stored as
 * {@link initialiseConfiguration} does. Masters must not run meanwhile: they would act on rows that are gone.
 * @param serial - the least that the configuration's serial shall be
 * @returns its serial
 * @throws StaleEpoch; ConfigurationConflict when two rows share a name or MAC address; ConfigurationError when a row is
 *   not valid; Unavailable
 */
export async function replaceConfiguration(
  redis: Redis,
  rows: ConfigRows,
  { epoch }: Fence,
  serial = 1,
): Promise<number> {
  const { values, args } = storedForm(rows);
  const keys = [EPOCH_KEY, CONFIG_PREFIX];
  return Number(await replace.run(redis, keys, [epoch, serial, JSON.stringify(ENTITY_KINDS), values, ...args]));
}

/** As both scripts take them. */
function storedForm(rows: ConfigRows): { readonly values: string; readonly args: readonly string[] } {
  const changes = putsOf(rows);
  const { take } = valueMoves(() => undefined, changes);
  const args = changes.flatMap(({ kind, put }) => {
    const row = checkedRow(kind, put.uuid, { ...put, serialNo: Math.max(put.serialNo, 1) });
    return [kind, put.uuid, JSON.stringify(row)];
  });
  return { values: JSON.stringify(take), args };
}

/**
 * Everything as of one moment; undefined when there is no cluster.
 * @throws ConfigurationError when a row is not valid; Unavailable
 */
export async function readConfiguration(
  redis: Redis,
): Promise<{ readonly serial: number; readonly rows: ConfigRows } | undefined> {
  const reading = redis.multi().get(SERIAL_KEY);
  for (const kind of ENTITY_KINDS) reading.hgetall(CONFIG_PREFIX + kind);
  const replies = await reading.exec().catch((error: unknown) => {
    throw redisUnavailable(error);
  });
  const [serial, ...tables] = (replies ?? []).map(([error, reply]) => {
    if (error !== null) throw redisUnavailable(error);
    return reply;
  });
  if (typeof serial !== "string") return undefined;
  const texts = new Map(ENTITY_KINDS.map((kind, index) => [kind, tables[index] as Readonly<Record<string, string>>]));
  const rowsOfKind = <K extends keyof Entities>(kind: K) =>
    Object.entries(texts.get(kind) ?? {}).map(([uuid, text]) => parseRow(kind, uuid, text));
  const [cluster] = rowsOfKind("cluster");
  if (cluster === undefined) throw new ConfigurationError("The configuration in Redis has lost its cluster row");
  const entries = TABLE_KINDS.map((kind) => [TABLES[kind], rowsOfKind(kind)]);
  return { serial: Number(serial), rows: { cluster, ...Object.fromEntries(entries) } };
}
