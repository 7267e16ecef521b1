/** A cluster whose Redis has lost everything, from a snapshot; over a real Redis. */
import { access, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import {
  type ConfigRows,
  configViewOf,
  exportConfiguration,
  initialiseConfiguration,
  RedisConfigStore,
  readConfiguration,
  rowsOf,
} from "@gannet/config-store";
import { readLedgerMarks } from "@gannet/job-ledger";
import { presentEpoch } from "@gannet/locking";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { connectRedis, type Redis } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { runRebuild } from "../src/rebuild/command.ts";
import { anotherGroup, clusterRows } from "./cluster-rows.ts";
import { MasterRoot } from "./master-root.ts";

let machine: MasterRoot;
let redis: Redis;
let rows: ConfigRows;
let watermark: string;
let snapshot: string;

beforeAll(async () => {
  vi.spyOn(console, "log").mockImplementation(() => {});
  machine = await MasterRoot.initialised();
  redis = connectRedis({ kind: "socket", path: machine.socket }, { name: "test" });
  rows = clusterRows();
  const stored = { ...rows, groups: [...(rows.groups ?? []), { ...anotherGroup("second"), serialNo: 3 }] };
  rows = rowsOf(configViewOf(stored));
  snapshot = machine.beside("configuration.json");
  watermark = machine.at(path.join(SYSTEM_LAYOUT.masterStateDir, "watermark.json"));
});
afterEach(() => redis.flushall());
afterAll(async () => {
  redis.disconnect();
  await machine[Symbol.asyncDispose]();
});

async function writeSnapshot(marks?: {
  readonly epoch: number;
  readonly lastJob: number;
  readonly time: number;
}): Promise<void> {
  await writeFile(snapshot, exportConfiguration(configViewOf(rows, 7), marks));
}

function rebuild(options: { readonly force?: boolean } = {}): Promise<void> {
  return runRebuild({ root: machine.root, snapshot, force: false, ...options });
}

describe("after everything is lost", () => {
  test("all rows are there again, and everything that only grows is above what it was", async () => {
    await writeSnapshot({ epoch: 12, lastJob: 3456, time: Date.now() / 1000 - 60 });
    const before = { epoch: 14, configurationSerial: 9, lastJob: 4000 };
    await writeFile(watermark, JSON.stringify({ runId: "x", cluster: rows.cluster.uuid, jobChanges: 5, ...before }));
    await rebuild();
    const there = await readConfiguration(redis);
    expect(there?.serial).toBeGreaterThan(before.configurationSerial);
    expect(there && rowsOf(configViewOf(there.rows))).toEqual(
      rowsOf(
        configViewOf({
          ...rows,
          cluster: { ...rows.cluster, serialNo: 1 },
          groups: rows.groups?.map(stored) ?? [],
          nodes: rows.nodes?.map(stored) ?? [],
        }),
      ),
    );
    expect(await presentEpoch(redis)).toBeGreaterThan(before.epoch + 60);
    expect((await readLedgerMarks(redis)).lastJob).toBeGreaterThan(before.lastJob + 60);
    // The master takes what is there for all that there is.
    await expect(access(watermark)).rejects.toThrow();
  });

  test("a snapshot that does not say how far the cluster was goes on far above it", async () => {
    await writeSnapshot();
    await rebuild();
    expect(await presentEpoch(redis)).toBeGreaterThan(1_000_000_000);
    expect((await readLedgerMarks(redis)).lastJob).toBeGreaterThan(1_000_000_000);
  });
});

test("a second rebuild from the same snapshot is above the first one", async () => {
  const minutesAgo = (minutes: number) => ({ epoch: 12, lastJob: 3456, time: Date.now() / 1000 - 60 * minutes });
  await writeSnapshot(minutesAgo(1));
  await rebuild();
  const first = { epoch: await presentEpoch(redis), ...(await readLedgerMarks(redis)) };
  await redis.flushall();
  await writeSnapshot(minutesAgo(2));
  await rebuild();
  expect(await presentEpoch(redis)).toBeGreaterThan(first.epoch + 60);
  expect((await readLedgerMarks(redis)).lastJob).toBeGreaterThan(first.lastJob + 60);
});

describe("nothing is changed", () => {
  test("where there is a cluster, but with --force", async () => {
    await writeSnapshot({ epoch: 1, lastJob: 1, time: 0 });
    const other = clusterRows("other.test");
    await initialiseConfiguration(redis, other, 50);
    await expect(rebuild()).rejects.toThrow("it has not lost everything");
    expect((await readConfiguration(redis))?.rows.cluster.name).toBe("other.test");
    await rebuild({ force: true });
    const there = await readConfiguration(redis);
    expect([there?.rows.cluster.name, there?.rows.nodes?.length]).toEqual(["cluster.test", 1]);
    expect(there?.serial).toBeGreaterThan(50);
  });

  test("while a master is connected", async () => {
    await writeSnapshot({ epoch: 1, lastJob: 1, time: 0 });
    await initialiseConfiguration(redis, rows);
    const address = { kind: "socket", path: machine.socket } as const;
    const store = await RedisConfigStore.open({ address, name: "master", logger: silentLogger() });
    try {
      await expect(rebuild({ force: true })).rejects.toThrow("Stop gannet-master on all machines first");
    } finally {
      await store.close();
    }
  });

  test.each([
    ["", "it is not JSON"],
    ["{}", "Not an exported configuration"],
    ['{"version":2}', "version"],
  ])("by %j, which is no snapshot", async (text, message) => {
    await writeFile(snapshot, text);
    await expect(rebuild()).rejects.toThrow(message);
    expect(await redis.dbsize()).toBe(0);
  });

  test("by a file that is not there", async () => {
    const missing = { root: machine.root, snapshot: "/nowhere", force: false };
    await expect(runRebuild(missing)).rejects.toThrow("cannot be read (ENOENT)");
    expect(await readdir(machine.at(SYSTEM_LAYOUT.masterStateDir))).not.toContain("watermark.json");
  });
});

/** As a row that was never stored is stored. */
function stored<Row extends { readonly serialNo: number }>(row: Row): Row {
  return { ...row, serialNo: Math.max(row.serialNo, 1) };
}
