/** A master's machine into one sealed file and back, over real Redis servers, while work goes on. */
import { generateKeyPairSync } from "node:crypto";
import { mkdir, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { initialiseConfiguration, RedisConfigStore, readConfiguration } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import { RedisJobLedger } from "@gannet/job-ledger";
import { RedisLeaderElection } from "@gannet/locking";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { connectRedis, type RedisAddress } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { runBackup } from "../src/backup/command.ts";
import { runRestore } from "../src/restore/command.ts";
import { anotherGroup, clusterRows } from "./cluster-rows.ts";
import { FILES, MasterRoot } from "./master-root.ts";

const OP = { OP_ID: "OP_TEST_DELAY", duration: 0 } as const;
const wakeQueue = { wake: () => Promise.resolve(), reprioritize: () => Promise.resolve() };

let machine: MasterRoot;
let address: RedisAddress;
let file: string;
/** What the cluster had before the backup began, and what became of it meanwhile. */
let before: { readonly jobs: readonly unknown[]; readonly epoch: number };
let committed: ReadonlyMap<number, readonly string[]>;

function ledgerOf(redis: RedisAddress): RedisJobLedger {
  return new RedisJobLedger({ address: redis, name: "test", wakeQueue, logger: silentLogger() });
}

function job(name: string) {
  return { opcodes: [{ input: OP, summary: name }], requester: "test" };
}

beforeAll(async () => {
  vi.spyOn(console, "log").mockImplementation(() => {});
  machine = await MasterRoot.initialised();
  address = { kind: "socket", path: machine.socket };
  const redis = connectRedis(address, { name: "test" });
  await initialiseConfiguration(redis, clusterRows());
  const leadership = await new RedisLeaderElection(redis, { holder: "test" }).campaign(AbortSignal.timeout(5_000));
  const ledger = ledgerOf(address);
  const store = await RedisConfigStore.open({ address, name: "test", logger: silentLogger() });
  const fence = { epoch: leadership.epoch };

  // 1 has succeeded, 2 runs and has something to undo, 3 waits to be begun.
  await ledger.submit([job("done"), job("under way"), job("queued")]);
  await ledger.begin(1, 0, fence);
  await ledger.succeed(1, 0, "result", fence);
  await ledger.begin(2, 0, fence);
  await ledger.pushUndo(2, 0, { action: "remove-disk", args: { disk: "x" } }, fence);
  before = { jobs: await ledger.getMany([1, 2, 3]), epoch: leadership.epoch };

  // Load: submissions and commits, as fast as they go, from before the backup until after it.
  const groups = new Map<number, readonly string[]>();
  const load = { over: false };
  const working = (async () => {
    for (let n = 0; !load.over; n++) {
      await ledger.submit([job(`load ${n}`)]);
      const view = await store.commit(() => [{ kind: "nodegroup", put: anotherGroup(`group${n}`) }], fence);
      groups.set(view.serial, [...view.groups.values()].map(({ name }) => name).sort());
    }
  })();
  file = machine.beside("cluster.backup");
  await runBackup(file, { root: machine.root, passphraseFile: machine.passphraseFile, force: false });
  load.over = true;
  await working;
  committed = groups;

  await store.close();
  await ledger.close();
  await leadership.resign();
  redis.disconnect();
});
afterAll(() => machine[Symbol.asyncDispose]());

function restored(target: MasterRoot, options: Partial<Parameters<typeof runRestore>[1]> = {}): Promise<void> {
  return runRestore(file, { root: target.root, passphraseFile: target.passphraseFile, force: false, ...options });
}

/** Every file below a folder, with its content. */
async function treeOf(folder: string): Promise<Readonly<Record<string, string>>> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  return Object.fromEntries(await Promise.all(files.map(async (name) => [name, await readFile(name, "utf8")])));
}

describe("on an empty machine", () => {
  test("configuration and jobs are those of one moment, and a leader can go on from there", async () => {
    await using target = await MasterRoot.empty();
    await restored(target);
    const there = await target.startRedis();
    const redis = connectRedis(there, { name: "test" });
    const ledger = ledgerOf(there);
    try {
      const configuration = await readConfiguration(redis);
      const groups = configuration?.rows.groups?.map(({ name }) => name).sort();
      expect(groups).toEqual(committed.get(configuration?.serial ?? 0));

      // Ids of jobs are without gaps up to the moment of the copy: each commit followed its submission.
      const jobs = await ledger.list({});
      const lastLoad = Math.max(...(groups ?? []).map((name) => Number(/^group(\d+)$/.exec(name)?.[1] ?? -1)));
      expect(jobs.map(({ id }) => id)).toEqual(jobs.map((_, index) => index + 1));
      expect(jobs.length - 3 - (lastLoad + 1)).toBeOneOf([0, 1]);
      expect(jobs[0]).toEqual(before.jobs[0]);
      expect(jobs.slice(2).map(({ status }) => status)).toEqual(jobs.slice(2).map(() => "canceled"));

      const leadership = await new RedisLeaderElection(redis, { holder: "new" }).campaign(AbortSignal.timeout(1_000));
      expect(leadership.epoch).toBeGreaterThan(before.epoch + 1_000);
      const [leftover, ...others] = await ledger.takeOver({ epoch: leadership.epoch });
      expect(others).toEqual([]);
      expect([leftover?.job.id, leftover?.undo]).toEqual([2, []]);
      const [next] = await ledger.submit([job("after")]);
      expect(next).toBeGreaterThan(10_000);
      await leadership.resign();
    } finally {
      redis.disconnect();
      await ledger.close();
    }
  });

  test("files have their content and modes, and nothing else is left", async () => {
    await using target = await MasterRoot.empty();
    await restored(target);
    for (const [name, [text, mode]] of Object.entries(FILES)) {
      expect(await readFile(target.at(name), "utf8")).toBe(text);
      expect((await stat(target.at(name))).mode & 0o777).toBe(mode);
    }
    expect((await readdir(target.at("/etc"))).sort()).toEqual(["gannet"]);
    expect((await readdir(target.at(SYSTEM_LAYOUT.dataDir))).sort()).toEqual([
      "ca",
      "master",
      "node-identity",
      "redis",
    ]);
    expect((await readdir(target.at(SYSTEM_LAYOUT.redisDir))).sort()).toEqual(["appendonlydir", "redis.conf", "tls"]);
  });

  test("empty folders that the packages made are no cluster", async () => {
    await using target = await MasterRoot.empty();
    await mkdir(target.at(SYSTEM_LAYOUT.caDir), { recursive: true });
    await mkdir(target.at("/etc/gannet/rapi"), { recursive: true });
    await restored(target);
    expect(await readFile(target.at(path.join(SYSTEM_LAYOUT.caDir, "ca.key")), "utf8")).toContain("key");
  });
});

describe("a file that is not right is refused, and nothing is written", () => {
  async function refusal(target: MasterRoot, options?: Partial<Parameters<typeof runRestore>[1]>): Promise<string> {
    const error = await restored(target, options).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(OpPrereqError);
    expect((await readdir(target.root, { recursive: true })).sort()).toEqual([
      "etc",
      "var",
      "var/lib",
      "var/lib/gannet",
    ]);
    return (error as Error).message;
  }

  test("another passphrase", async () => {
    await using target = await MasterRoot.empty();
    await writeFile(target.passphraseFile, "wrong horse battery staple");
    expect(await refusal(target)).toBe("The passphrase is not the backup's");
  });

  test.each([
    ["cut short", async (copy: string, size: number) => truncate(copy, size - 1)],
    ["with another last byte", async (copy: string, size: number) => flip(copy, size - 1)],
  ])("one %s", async (_, damage) => {
    await using target = await MasterRoot.empty();
    const copy = target.beside("damaged.backup");
    await writeFile(copy, await readFile(file));
    await damage(copy, (await stat(copy)).size);
    const whole = file;
    file = copy;
    try {
      expect(await refusal(target)).toMatch(/^The backup cannot be used: /);
    } finally {
      file = whole;
    }
  });

  test("something else", async () => {
    await using target = await MasterRoot.empty();
    const whole = file;
    file = target.passphraseFile;
    try {
      expect(await refusal(target)).toContain("no backup of Gannet's");
    } finally {
      file = whole;
    }
  });
});

async function flip(name: string, at: number): Promise<void> {
  const bytes = await readFile(name);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  await writeFile(name, bytes);
}

describe("where there is a cluster", () => {
  test("nothing is changed without --force, and with it what was there is kept", async () => {
    await using target = await MasterRoot.initialised();
    await writeFile(target.at(SYSTEM_LAYOUT.usersFile), "somebody else\n");
    const was = await treeOf(target.root);
    await expect(restored(target)).rejects.toThrow("There is a cluster on this machine");
    await expect(restored(target, { force: true })).rejects.toThrow("Redis answers");
    expect(await treeOf(target.root)).toEqual(was);

    await target.stopRedis();
    await restored(target, { force: true });
    expect(await readFile(target.at(SYSTEM_LAYOUT.usersFile), "utf8")).toBe(FILES[SYSTEM_LAYOUT.usersFile][0]);
    const kept = (await readdir(target.at("/etc"))).filter((name) => name.startsWith("gannet.before-"));
    expect(kept).toHaveLength(1);
    expect(await readFile(target.at(`/etc/${kept[0]}/rapi/users`), "utf8")).toBe("somebody else\n");
  });
});

describe("the backup itself", () => {
  test("is its owner's only, replaces nothing, and tells no secret", async () => {
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await expect(
      runBackup(file, { root: machine.root, passphraseFile: machine.passphraseFile, force: false }),
    ).rejects.toThrow("exists");
    const text = await readFile(file, "latin1");
    for (const secret of ["authority's", "cleartext", "cluster.test"]) expect(text).not.toContain(secret);
  });

  test("wants a passphrase of some length", async () => {
    await writeFile(machine.beside("short"), "tiny");
    const options = { root: machine.root, passphraseFile: machine.beside("short"), force: false };
    await expect(runBackup(machine.beside("no.backup"), options)).rejects.toThrow("too short");
    expect(await readdir(path.dirname(machine.root))).not.toContain("no.backup");
  });

  test("can be for the holder of a key", async () => {
    await using target = await MasterRoot.empty();
    const pair = (bits: number) =>
      generateKeyPairSync("rsa", {
        modulusLength: bits,
        publicKeyEncoding: { type: "spki", format: "pem" },
        privateKeyEncoding: { type: "pkcs8", format: "pem" },
      });
    const [own, other] = [pair(2048), pair(2048)];
    await writeFile(target.beside("own.pub"), own.publicKey);
    await writeFile(target.beside("own.key"), own.privateKey);
    await writeFile(target.beside("other.key"), other.privateKey);
    const sealed = target.beside("sealed.backup");
    await runBackup(sealed, { root: machine.root, recipient: target.beside("own.pub"), force: false });
    const open = (identity: string) =>
      runRestore(sealed, { root: target.root, identity: target.beside(identity), force: false });
    await expect(open("other.key")).rejects.toThrow("private key is not that of the backup's recipient");
    await open("own.key");
    expect(await readFile(target.at(SYSTEM_LAYOUT.usersFile), "utf8")).toContain("admin");
  });

  test("says that there is nothing to back up", async () => {
    await using empty = await MasterRoot.initialised();
    const options = { root: empty.root, passphraseFile: empty.passphraseFile, force: false };
    await expect(runBackup(empty.beside("no.backup"), options)).rejects.toThrow("There is no cluster in Redis");
  });
});
