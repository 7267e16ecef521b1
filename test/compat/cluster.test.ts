/**
 * Debian's python3-ganeti-rapi, unchanged, changes the cluster, its groups and its networks; then what the remote API
 * has no resource for (verification) is submitted as a standby's process submits it. Real agents, simulated LVM and DRBD.
 */
import path from "node:path";
import { BullWakeQueue, type Job, RedisJobLedger } from "@gannet/job-ledger";
import { parseOpcode, wireOpcode } from "@gannet/opcodes";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { hasPythonClient, runClientSteps } from "./client-script.ts";

const INSTANCE = "net1.gannet.test";

interface FinishedStep {
  readonly ok: boolean;
  readonly job: { readonly opresult: readonly unknown[] };
}

describe.skipIf(!hasPythonClient())("cluster, groups and networks", () => {
  let cluster: OneMachineCluster;
  let steps: ReadonlyMap<string, unknown>;

  beforeAll(async () => {
    cluster = await OneMachineCluster.start({ nodes: 3, env: { GANNET_STORAGE: "simulated" } });
    steps = await runClientSteps(cluster, "cluster_life.py");
  }, 300_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  const result = (step: string) => (steps.get(step) as FinishedStep).job.opresult[0];
  const refused = (text: RegExp, code: string) => ["OpPrereqError", [expect.stringMatching(text), code]];

  test("the cluster changes, but for what is in use or what its nodes do not have", () => {
    for (const step of ["redistribute", "modify-nothing", "modify", "modify-back", "modify-hvparams"])
      expect(result(step), step).toBe(null);
    expect(steps.get("info")).toMatchObject({
      ...{ candidate_pool_size: 2, hidden_os: ["noop"], beparams: { default: { minmem: 256, maxmem: 256 } } },
    });
    expect(result("modify-in-use")).toEqual(refused(/plain is enabled and needs a volume group/, "wrong_state"));
    expect(result("modify-missing-group")).toEqual(refused(/node3.*no volume group nosuch/, "wrong_state"));
  });

  test("groups are added, changed, given nodes and removed", () => {
    for (const step of ["group-add", "group-tags", "group-assign", "group-assign-back", "group-remove"])
      expect(result(step), step).toBe(null);
    expect(result("group-rename")).toBe("rack3");
    expect(steps.get("group")).toMatchObject({
      ...{ name: "rack3", alloc_policy: "preferred", node_list: ["node3.gannet.test"], tags: ["cold"] },
      ndparams: { spindle_count: 2 },
    });
    expect(result("group-remove-full")).toEqual(refused(/not empty/, "wrong_state"));
    expect(steps.get("groups")).toEqual(["default"]);
    expect(result("assign-split")).toEqual(refused(/get split by this change: net1/, "wrong_state"));
  });

  test("networks give addresses to instances", () => {
    for (const step of ["network-add", "network-connect", "network-modify", "network-tags"])
      expect(result(step), step).toBe(null);
    expect(steps.get("create")).toMatchObject({ ok: true });
    expect(steps.get("instance")).toMatchObject({
      ...{ "nic.ips": ["203.0.113.3"], "nic.networks.names": ["lan"], "nic.modes": ["bridged"] },
    });
    expect(steps.get("network")).toMatchObject({
      ...{ map: "XXXX...........X", tags: ["a", "b"], inst_list: [INSTANCE] },
      group_list: [["default", "bridged", "xen-br0", ""]],
    });
    expect(result("network-disconnect-used")).toEqual(
      refused(/Conflicting IP addresses.*nic0\/203.0.113.3/, "wrong_state"),
    );
  });

  test("a whole verification finds nothing but what this machine lacks, and all disks in order", async () => {
    await using stack = new AsyncDisposableStack();
    const address = { kind: "socket", path: path.join(cluster.stateDir, "redis/redis.sock") } as const;
    const parts = { address, name: "verification", logger: silentLogger() };
    const queue: BullWakeQueue = new BullWakeQueue({ ...parts, readyJobs: () => ledger.readyJobs() });
    stack.defer(() => queue.close());
    const ledger = new RedisJobLedger({ ...parts, wakeQueue: queue });
    stack.defer(() => ledger.close());
    const ended = (id: number): Promise<Job> =>
      vi.waitFor(
        async () => {
          const job = await ledger.get(id);
          if (job === undefined || !["success", "error"].includes(job.status)) throw new Error(`job ${id} goes on`);
          return job;
        },
        { timeout: 60_000, interval: 50 },
      );
    const run = async (id: string, params: object = {}) => {
      const { declaration, op } = parseOpcode({ OP_ID: id, ...params });
      const input = wireOpcode(declaration, op);
      const [job = 0] = await ledger.submit([{ requester: "tester", opcodes: [{ input, summary: id }] }]);
      await queue.wake(job, 0);
      const [opcode] = (await ended(job)).opcodes;
      return opcode?.result;
    };
    const followUps = async (answer: unknown) =>
      await Promise.all((answer as { jobs: [boolean, number][] }).jobs.map(([, id]) => ended(id)));

    const verified = await followUps(await run("OP_CLUSTER_VERIFY", { verbose: true, error_codes: true }));
    const lines = verified.flatMap(({ opcodes }) => opcodes[0]?.log.map(([, , , text]) => String(text).trim()) ?? []);
    const errors = lines
      .filter((line) => /^- ERROR/.test(line))
      .filter((line) => !/ENODENET.*missing bridge/.test(line));
    expect(errors).toEqual([]);
    expect(lines).toContain(`* Verifying instance ${INSTANCE}`);
    const [disks] = await followUps(await run("OP_CLUSTER_VERIFY_DISKS", { group_name: "default" }));
    expect(disks?.opcodes[0]?.result).toEqual([{}, [], {}]);
    expect(await run("OP_CLUSTER_REPAIR_DISK_SIZES")).toEqual([]);
    expect(await run("OP_TAGS_SEARCH", { pattern: "^b$" })).toEqual([["/network/lan", "b"]]);
  }, 120_000);
});
