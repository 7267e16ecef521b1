/**
 * The watcher of a whole cluster, with simulated guests on simulated DRBD: guests that die are started again, those that
 * their users shut down are not, and those of a node whose agent is dead are started elsewhere after the node itself has
 * stopped them.
 */
import { access, chmod, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { eventually } from "../e2e/conditions.ts";
import { ended, leading } from "../faults/fault-cluster.ts";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import {
  CONTENTS,
  contentsOf,
  createInstance,
  installOs,
  instanceRow,
  NODES,
  ONE,
  runsOn,
  SLOW_MS,
  THREE,
  TWO,
} from "./simulated-instances.ts";

const NAME = "watched.gannet.test";
const INSTANCE = `/2/instances/${NAME}`;
const LEASE_S = 4;
vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

interface WatcherState {
  readonly last_look: number;
  readonly paused_until: number | null;
  readonly self_fenced_nodes: readonly string[];
  readonly waits: readonly { readonly name: string; readonly reason: string }[];
  readonly hook_problems: readonly { readonly node: string; readonly script: string; readonly problem: string }[];
  readonly deeds: readonly {
    readonly action: string;
    readonly name: string;
    readonly job: number;
    readonly reason: string;
  }[];
}

let cluster: OneMachineCluster;
beforeAll(async () => {
  cluster = await OneMachineCluster.start({
    nodes: NODES,
    env: { GANNET_STORAGE: "simulated", GANNET_WATCHER: "on" },
  });
  await installOs(cluster);
  await configure("master/master.json", {
    watcher: { enabled: true, intervalS: 0.5, verifyDisksS: 3_600, hooksS: 0.5 },
    automaticFailover: { enabled: true, afterS: LEASE_S, selfFenceS: LEASE_S },
  });
  for (const node of ["node1", "node2"])
    await configure(`${node}/agent.json`, { recordExecutions: true, selfFence: { stopWithinS: LEASE_S } });
  await Promise.all(["master", "node1", "node2"].map((daemon) => ended(cluster, daemon, "SIGTERM")));
  await leading(cluster);
  await createInstance(cluster, NAME, { pnode: TWO, snode: ONE });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const watcher = async () => (await cluster.rapi("GET", "/2/watcher")).body as WatcherState;

async function looks(times: number): Promise<void> {
  for (let look = 0; look < times; look += 1) {
    const { last_look: before } = await watcher();
    await eventually("the watcher looks again", async () => (await watcher()).last_look > before);
  }
}

async function configure(file: string, settings: object): Promise<void> {
  const place = path.join(cluster.stateDir, file);
  const before = JSON.parse(await readFile(place, "utf8")) as object;
  await writeFile(place, JSON.stringify({ ...before, ...settings }));
}

async function crash(node: string): Promise<void> {
  const script = path.join(cluster.stateDir, node, "state/fake-hypervisor/faults.json");
  await writeFile(script, JSON.stringify({ faults: [{ operation: "crash", guest: NAME, times: 1 }] }));
}

test("a guest that dies is started again, by a job that says who asked for it", async () => {
  await crash("node2");
  const deed = await eventually("the watcher starts it", async () =>
    (await watcher()).deeds.find(({ action, name }) => action === "start" && name === NAME),
  );
  await runsOn(cluster, NAME, TWO);
  const { body } = await cluster.rapi("GET", `/2/jobs/${deed.job}`);
  expect(body).toMatchObject({ summary: [`INSTANCE_STARTUP(${NAME})`] });
  expect((body as { ops: [{ reason: [[string]] }] }).ops[0].reason[0][0]).toBe("gnt:watcher");
});

test("a guest that its user shuts down stays down, and during a pause one that dies stays dead", async () => {
  await cluster.succeed("PUT", `${INSTANCE}/shutdown`, { timeout: 0 });
  const { deeds } = await watcher();
  await looks(3);
  expect((await watcher()).deeds).toEqual(deeds);
  expect((await instanceRow(cluster, NAME)).status).toBe("ADMIN_down");
  await cluster.succeed("PUT", `${INSTANCE}/startup`);

  expect((await cluster.rapi("PUT", "/2/watcher/pause", { body: { duration: 600 } })).status).toBe(200);
  await crash("node2");
  await eventually("it is dead", async () => (await instanceRow(cluster, NAME)).status === "ERROR_down");
  await looks(3);
  expect((await instanceRow(cluster, NAME)).status).toBe("ERROR_down");
  expect((await watcher()).waits).toEqual([
    expect.objectContaining({ reason: expect.stringContaining("paused until") }),
  ]);
  expect((await cluster.rapi("PUT", "/2/watcher/continue")).body).toEqual({ paused_until: null });
  // What was tried before its user's shutdown does not count any more.
  await runsOn(cluster, NAME, TWO);
});

test("the site's hooks of the watcher run on each node, and one that fails is told of until it does not", async () => {
  const folder = path.join(layoutOf(cluster.stateDir, NODES).hooksDir, "watcher");
  await mkdir(folder, { recursive: true });
  const script = path.join(folder, "10-daemons");
  await writeFile(script, '#!/bin/sh\necho "nothing runs for $GANETI_CLUSTER"; exit 3\n');
  await chmod(script, 0o755);
  await eventually("all nodes' scripts have failed", async () => (await watcher()).hook_problems.length === NODES);
  expect((await watcher()).hook_problems.map(({ node }) => node).sort()).toEqual([ONE, TWO, THREE]);
  expect((await watcher()).hook_problems[0]).toMatchObject({
    script: "watcher/10-daemons",
    problem: expect.stringContaining("nothing runs for cluster.gannet.test"),
  });
  await rm(script);
  await eventually("none fails any more", async () => (await watcher()).hook_problems.length === 0);
});

test("with maintain_node_health a node that is marked offline and answers loses its guests and DRBD devices", async () => {
  await cluster.succeed("PUT", "/2/modify", { maintain_node_health: true });
  await runsOn(cluster, NAME, TWO);
  await cluster.succeed("POST", `/2/nodes/${TWO}/modify`, { offline: true, auto_promote: true });
  const deed = await eventually("the watcher quiesces it", async () =>
    (await watcher()).deeds.find(({ action, name }) => action === "quiesce" && name === TWO),
  );
  const job = await eventually("that is done", async () => {
    const { body } = await cluster.rapi("GET", `/2/jobs/${deed.job}`);
    return (body as { status: string }).status === "success" ? (body as { opresult: unknown[] }) : undefined;
  });
  expect(job.opresult).toEqual([{ guests: [NAME], disks: [`disk/0 of ${NAME}`] }]);
  expect(await guestsOf("node2")).toEqual([]);
  const { deeds } = await watcher();
  await looks(3);
  expect((await watcher()).deeds).toEqual(deeds);
  await cluster.succeed("PUT", "/2/modify", { maintain_node_health: false });
  await cluster.succeed("POST", `/2/nodes/${TWO}/modify`, { offline: false });
  // Not before the leader has renewed the node's lease; the watcher pauses after what it has tried before.
  await eventually("it can be started again", async () => {
    return (await cluster.job("PUT", `${INSTANCE}/startup`)).status === "success";
  });
  await runsOn(cluster, NAME, TWO);
});

describe("when a node's agent is dead for good", () => {
  test("the node stops its guests by itself, and then they are started on their secondary", async () => {
    await eventually("the nodes guard themselves", async () => (await watcher()).self_fenced_nodes.includes(TWO));
    expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
    const most = new AbortController();
    const counting = mostAtOnce(most.signal);
    const agent = path.join(cluster.stateDir, "node2/agent.json");
    await rename(agent, `${agent}.away`);
    process.kill(await cluster.pid("node2"), "SIGKILL");

    await runsOn(cluster, NAME, ONE);
    most.abort();
    expect(await counting).toBe(1);
    expect((await watcher()).deeds.at(-1)).toMatchObject({
      ...{ action: "fail over", name: TWO },
      reason: expect.stringContaining("it has stopped its guests by itself"),
    });
    expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
    const { body } = await cluster.rapi("GET", `/2/nodes/${TWO}`);
    expect(body).toMatchObject({ offline: true });
    expect(await startsOn("node1")).toBe(1);

    // It comes back, and starts nothing.
    await rename(`${agent}.away`, agent);
    await eventually("the agent is back", async () => {
      const pid = await cluster.pid("node2");
      return (
        (await access(`/proc/${pid}`).then(() => true)) &&
        (await readFile(`/proc/${pid}/cmdline`, "utf8")).includes(agent)
      );
    });
    await looks(3);
    expect(await guestsOf("node2")).toEqual([]);
    expect((await instanceRow(cluster, NAME)).pnode).toBe(ONE);
  });
});

async function guestsOf(node: string): Promise<readonly string[]> {
  const folder = path.join(cluster.stateDir, node, "state/fake-hypervisor/guests");
  // There is none before the first guest.
  return (await readdir(folder).catch(() => [])).filter((file) => file.startsWith(NAME) && file.endsWith(".json"));
}

/** On how many nodes the guest was at most at one moment. */
async function mostAtOnce(signal: AbortSignal): Promise<number> {
  let most = 0;
  while (!signal.aborted) {
    const [one, two] = [await guestsOf("node1"), await guestsOf("node2")];
    most = Math.max(most, one.length + two.length);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return most;
}

/** How often an agent has executed a start. */
async function startsOn(node: string): Promise<number> {
  const log = await readFile(path.join(cluster.stateDir, node, "state/executions.log"), "utf8");
  return log.split("\n").filter((line) => line.includes("InstanceService/Start")).length;
}
