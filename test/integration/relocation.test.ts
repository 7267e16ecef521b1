/** Instances that leave their node, and disks that get other copies: on simulated LVM and DRBD, with simulated guests. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import {
  CONTENTS,
  contentsOf,
  createInstance,
  instanceRow,
  NODES,
  ONE,
  runsOn,
  SLOW_MS,
  startSimulatedCluster,
  THREE,
  TWO,
  told,
} from "./simulated-instances.ts";

const run = promisify(execFile);
const NAME = "moving.gannet.test";
const INSTANCE = `/2/instances/${NAME}`;
vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

let cluster: OneMachineCluster;
beforeAll(async () => {
  cluster = await startSimulatedCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  if ((await cluster.rapi("GET", INSTANCE)).status === 200) await cluster.succeed("DELETE", INSTANCE);
});

describe("migration", () => {
  test("of mirrored disks: to the secondary and back, live and not, with the contents", async () => {
    await createInstance(cluster, NAME);
    for (const [target, mode] of [
      [TWO, "live"],
      [ONE, "non-live"],
    ] as const) {
      const job = await cluster.job("PUT", `${INSTANCE}/migrate`, { mode });
      expect(job, told(job)).toMatchObject({ status: "success" });
      for (const step of ["dual-master mode", `migrating instance to ${target}`, "single-master mode", "done"])
        expect(told(job)).toContain(step);
      await runsOn(cluster, NAME, target);
      expect((await instanceRow(cluster, NAME)).snodes).toEqual([target === ONE ? TWO : ONE]);
    }
    expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
  });

  test("of disks that all nodes see: to the node that is named", async () => {
    await createInstance(cluster, NAME, { disk_template: "sharedfile", snode: undefined });
    const job = await cluster.job("PUT", `${INSTANCE}/migrate`, { target_node: ONE });
    expect(JSON.stringify(job.opresult)).toMatch(/on node .* already/);
    await cluster.succeed("PUT", `${INSTANCE}/migrate`, { target_node: THREE });
    await runsOn(cluster, NAME, THREE);
    expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
  });

  test("of disks that all nodes see: to the node that an allocator chooses, by its name or as the default", async () => {
    await createInstance(cluster, NAME, { disk_template: "sharedfile", snode: undefined });
    await cluster.succeed("PUT", `${INSTANCE}/migrate`, { iallocator: "hail" });
    const { pnode } = await instanceRow(cluster, NAME);
    expect([TWO, THREE]).toContain(pnode);
    await runsOn(cluster, NAME, String(pnode));
    await cluster.succeed("PUT", `${INSTANCE}/failover`);
    expect((await instanceRow(cluster, NAME)).pnode).not.toBe(pnode);
    for (const [body, words] of [
      [{ target_node: THREE, iallocator: "hail" }, /not both/],
      [{ cleanup: true }, /target_node/],
    ] as const) {
      const job = await cluster.job("PUT", `${INSTANCE}/migrate`, body);
      expect(JSON.stringify(job.opresult)).toMatch(words);
    }
  });

  test("is refused where there is nothing to migrate, or nowhere to go", async () => {
    await createInstance(cluster, NAME, { start: false });
    for (const [body, words] of [
      [{}, /does not run.*allow_failover/],
      [{ target_node: THREE }, /only be migrated to their secondary/],
      [{ iallocator: "hail" }, /only be migrated to their secondary/],
      [{ mode: "live", live: true }, /Only one of/],
    ] as const) {
      const job = await cluster.job("PUT", `${INSTANCE}/migrate`, body);
      expect(job.status).toBe("error");
      expect(JSON.stringify(job.opresult)).toMatch(words);
    }
    await cluster.succeed("PUT", `${INSTANCE}/migrate`, { allow_failover: true });
    expect(await instanceRow(cluster, NAME)).toMatchObject({ pnode: TWO, admin_state: "down" });
    await cluster.succeed("DELETE", INSTANCE);
    await createInstance(cluster, NAME, { disk_template: "plain", snode: undefined });
    const job = await cluster.job("PUT", `${INSTANCE}/migrate`);
    expect(JSON.stringify(job.opresult)).toMatch(/one node only/);
  });

  test("clean-up finds the guest where it runs", async () => {
    await createInstance(cluster, NAME);
    await cluster.succeed("PUT", `${INSTANCE}/migrate`, { cleanup: true });
    await runsOn(cluster, NAME, ONE);
    await cluster.succeed("PUT", `${INSTANCE}/shutdown`, { timeout: 0 });
    const job = await cluster.job("PUT", `${INSTANCE}/migrate`, { cleanup: true });
    expect(JSON.stringify(job.opresult)).toMatch(/runs on neither node/);
  });
});

describe("failover", () => {
  test("stops the instance and starts it on its secondary, with the contents", async () => {
    await createInstance(cluster, NAME);
    await cluster.succeed("PUT", `${INSTANCE}/failover`);
    await runsOn(cluster, NAME, TWO);
    expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
  });

  test("from a node that is only silent fails where its kernel still has the disks, and nothing has moved", async () => {
    await createInstance(cluster, NAME);
    const pid = await cluster.pid("node1");
    process.kill(pid, "SIGSTOP");
    try {
      const job = await cluster.job("PUT", `${INSTANCE}/failover`, { shutdown_timeout: 0, ignore_consistency: true });
      expect(told(job)).toMatch(/going on\. Make sure that node is down/);
      expect(JSON.stringify(job.opresult)).toMatch(/Multiple primaries not allowed/);
      expect(await instanceRow(cluster, NAME)).toMatchObject({ pnode: ONE, snodes: [TWO], admin_state: "up" });
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await runsOn(cluster, NAME, ONE);
    expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
  });
});

describe("replacing disks", () => {
  test.each([
    ["replace_on_primary", undefined, {}],
    ["replace_on_secondary", "1", {}],
    ["replace_new_secondary", undefined, { remote_node: THREE }],
    ["replace_new_secondary", undefined, { iallocator: "." }],
  ] as const)("%s, disks %s, %j: both copies are whole afterwards", async (mode, disks, remote) => {
    await createInstance(cluster, NAME, disks === undefined ? {} : { disks: [{ size: 8 }, { size: 4 }] });
    const body = { mode, ...remote, ...(disks === undefined ? {} : { disks }) };
    const job = await cluster.job("POST", `${INSTANCE}/replace-disks`, body);
    expect(job, told(job)).toMatchObject({ status: "success" });
    expect(told(job)).toContain("in sync");
    expect((await instanceRow(cluster, NAME)).snodes).toEqual([mode === "replace_new_secondary" ? THREE : TWO]);
    await cluster.succeed("PUT", `${INSTANCE}/failover`);
    await runsOn(cluster, NAME, mode === "replace_new_secondary" ? THREE : TWO);
    expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
  });

  test("brings together what has parted: an end that gave up its peer is told to look for it again", async () => {
    await createInstance(cluster, NAME);
    const { simulatedStorageDir: folder = "" } = layoutOf(cluster.stateDir, NODES).nodes[0] ?? {};
    const drbdsetup = async (...args: readonly string[]) =>
      (await run(path.join(folder, "bin/drbdsetup"), args)).stdout;
    const [remote = "", local = ""] = (await drbdsetup("show")).match(/ipv4\s+[^\s;]+/g) ?? [];
    await drbdsetup("disconnect", ...[local, remote].map((address) => address.replace(/\s+/, ":")));
    const states = () => readFile(path.join(folder, "proc-drbd"), "utf8");
    expect(await states()).toContain("cs:StandAlone");
    await cluster.succeed("POST", `${INSTANCE}/replace-disks`, { mode: "replace_on_secondary" });
    expect(await states()).toContain("cs:Connected");
  });

  test("replace_auto does nothing where nothing is wrong, and what does not fit together is refused", async () => {
    await createInstance(cluster, NAME);
    const job = await cluster.job("POST", `${INSTANCE}/replace-disks`, { mode: "replace_auto" });
    expect(job.status).toBe("success");
    expect(told(job)).toContain("No disks need replacement");
    for (const [body, words] of [
      [{ mode: "replace_new_secondary" }, /either the new secondary .* or an allocator/],
      [{ mode: "replace_new_secondary", remote_node: THREE, iallocator: "hail" }, /either/],
      [{ mode: "replace_on_primary", iallocator: "hail" }, /only be named when/],
      [{ mode: "replace_new_secondary", remote_node: ONE }, /cannot be the primary/],
      [{ mode: "replace_new_secondary", remote_node: TWO }, /is the secondary .* already/],
      [{ mode: "replace_on_primary", remote_node: THREE }, /only be named when/],
      [{ mode: "replace_on_primary", disks: "7" }, /has no disk 7/],
      [{ mode: "replace_auto", disks: "0" }, /cannot be named where/],
    ] as const) {
      const refused = await cluster.job("POST", `${INSTANCE}/replace-disks`, body);
      expect(refused.status).toBe("error");
      expect(JSON.stringify(refused.opresult)).toMatch(words);
    }
  });
});
