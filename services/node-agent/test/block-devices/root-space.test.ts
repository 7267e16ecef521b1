import { chmod, mkdir, mkdtemp, readdir, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { BlockDeviceError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RootSpaces } from "../../src/block-devices/file/root-space.ts";

const MIB = 1024n * 1024n;
/** Until a process that was told to end is killed: meanwhile it stands for one that cannot be killed. */
const GRACE_MS = 4_000;
const runner = createCommandRunner({ logger: silentLogger(), killGraceMs: GRACE_MS });

let base: string;
beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), "gannet-spaces-"));
});
afterEach(() => rm(base, { recursive: true }));

const inside = (name: string) => path.join(base, name);

/** Answers of stat(1) by the root's name; each start is noted. */
async function spacesOf(cases: string): Promise<{ spaces: RootSpaces; started: () => Promise<readonly string[]> }> {
  await mkdir(inside("started"));
  const lines = ["#!/bin/bash", `touch ${inside("started")}/"$(basename "$3")".$$`, `case $3 in ${cases} esac`];
  await writeFile(inside("stat"), `${lines.join("\n")}\n`);
  await chmod(inside("stat"), 0o755);
  const spaces = new RootSpaces({ runner, lockFolder: inside("locks"), limitMs: 300, stat: inside("stat") });
  const started = async () => (await readdir(inside("started"))).map((name) => name.replace(/\.\d+$/, "")).sort();
  return { spaces, started };
}

test("space is the system's", async () => {
  const spaces = new RootSpaces({ runner, lockFolder: inside("locks") });
  const { blocks, frsize } = await statfs(base, { bigint: true });
  const told = await spaces.read(base);
  expect(told?.totalMib).toBe(Number((blocks * frsize) / MIB));
  expect(told?.freeMib).toBeGreaterThan(0);
  await writeFile(inside("file"), "");
  expect(await spaces.read(inside("missing"))).toBeUndefined();
  await expect(spaces.read(inside("file/below"))).rejects.toThrow(/Not a directory/);
});

test("space is counted in the filesystem's blocks, and what is reserved for root is not free", async () => {
  const { spaces } = await spacesOf("*) echo 4096 25600 12800 10240;;");
  expect(await spaces.read("/srv")).toEqual({ totalMib: 100, usedMib: 50, freeMib: 40 });
});

test("what stat prints otherwise is told of", async () => {
  const { spaces } = await spacesOf("*) echo 4096 '?' 1 1;;");
  await expect(spaces.read("/srv")).rejects.toThrow(/stat printed "4096 \? 1 1/);
});

test("who asks at the same time gets the same answer", async () => {
  const { spaces, started } = await spacesOf("*) sleep 0.1; echo 4096 25600 12800 10240;;");
  const [one, other] = await Promise.all([spaces.read("/srv"), spaces.read("/srv")]);
  expect(other).toEqual(one);
  expect(await started()).toEqual(["srv"]);
});

test("a root that hangs is given up in time, asked by one process at most, and again when that is gone", async () => {
  const { spaces, started } = await spacesOf(
    `/hangs) test -e ${inside("mended")} || { trap '' TERM; for i in {1..600}; do sleep 0.1; done; };& *) echo 4096 25600 12800 10240;;`,
  );
  const begun = performance.now();
  const hanging = spaces.read("/hangs");
  expect(await spaces.read("/works")).toMatchObject({ totalMib: 100 });
  await expect(hanging).rejects.toThrow(/^its filesystem does not answer: .* did not end within 0.3 s and was killed/);
  // Of a process that a kill does not end, as after it of one that does not heed SIGTERM yet.
  await expect(spaces.read("/hangs")).rejects.toThrow(
    new BlockDeviceError("its filesystem does not answer, it was asked before"),
  );
  const restarted = new RootSpaces({ runner, lockFolder: inside("locks"), stat: inside("stat") });
  await expect(restarted.read("/hangs")).rejects.toThrow(/asked before/);
  expect(performance.now() - begun).toBeLessThan(300 + GRACE_MS);
  expect(await started()).toEqual(["hangs", "works"]);

  await writeFile(inside("mended"), "");
  await vi.waitFor(async () => expect(await spaces.read("/hangs")).toMatchObject({ totalMib: 100 }), 10_000);
  expect(await started()).toEqual(["hangs", "hangs", "works"]);
});
