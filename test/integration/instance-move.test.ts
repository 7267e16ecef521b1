/** Instances whose disks are on one node are moved to another by copying them, and get and lose disks: on real agents. */
import { BullWakeQueue, RedisJobLedger } from "@gannet/job-ledger";
import { parseOpcode, summaryOf, wireOpcode } from "@gannet/opcodes";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import type { FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";
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
  TWO,
  told,
} from "./simulated-instances.ts";

vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

const logger = silentLogger();
let cluster: OneMachineCluster;
let ledger: RedisJobLedger;
let queue: BullWakeQueue;

beforeAll(async () => {
  cluster = await startSimulatedCluster();
  const address = { kind: "socket", path: layoutOf(cluster.stateDir, NODES).redisSocket } as const;
  queue = new BullWakeQueue({ address, name: "test", readyJobs: () => ledger.readyJobs(), logger });
  ledger = new RedisJobLedger({ address, name: "test", wakeQueue: queue, logger });
});
afterAll(async () => {
  await ledger?.close();
  await queue?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** What the remote API has no resource for is submitted as the command line will. */
async function move(instance_name: string, target_node: string): Promise<FinishedJob> {
  const { declaration, op } = parseOpcode({ OP_ID: "OP_INSTANCE_MOVE", instance_name, target_node });
  const opcode = { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
  const [submitted = 0] = await ledger.submit([{ requester: "tester", opcodes: [opcode] }]);
  return await cluster.finished(submitted);
}

test.each(["plain", "file"])(
  "a running instance of template %s is moved there and back with its data",
  async (template) => {
    const name = `${template}.gannet.test`;
    const disks = [{ size: 8 }, { size: 4 }];
    await createInstance(cluster, name, { disk_template: template, snode: undefined, disks });
    for (const node of [TWO, ONE]) {
      const moved = await move(name, node);
      expect(moved, told(moved)).toMatchObject({ status: "success", opresult: [null] });
      await runsOn(cluster, name, node);
      expect(await contentsOf(cluster, name)).toBe(CONTENTS);
    }
    expect(await instanceRow(cluster, name)).toMatchObject({ admin_state: "up", disk_template: template });
    await cluster.succeed("DELETE", `/2/instances/${name}?shutdown_timeout=0`);
  },
);

test("a mirrored instance gets a disk while it runs, and loses it again with both its copies", async () => {
  const name = "mirrored.gannet.test";
  await createInstance(cluster, name);
  const modify = (disks: unknown) => cluster.job("PUT", `/2/instances/${name}/modify`, { disks });
  const added = await modify([["add", -1, { size: 4, name: "data" }]]);
  expect(added, told(added)).toMatchObject({
    opresult: [
      [
        ["disk/1", "add:size=4,mode=rw"],
        ["disk/1", "hotplug:done"],
      ],
    ],
  });
  const removed = await modify([["remove", "data", {}]]);
  expect(removed, told(removed)).toMatchObject({ status: "success" });
  expect(told(removed)).not.toContain("WARNING");
  expect(await contentsOf(cluster, name)).toBe(CONTENTS);
  await cluster.succeed("DELETE", `/2/instances/${name}?shutdown_timeout=0`);
});
