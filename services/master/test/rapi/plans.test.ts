/** What could be done with the cluster as it is: plans, computed beside the remote API's own work. */
import type { ConfigChange } from "@gannet/config-store";
import { Unavailable } from "@gannet/errors";
import type { ConfigView } from "@gannet/objects";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Planner } from "../../src/plans/planner.ts";
import { guest, instanceRow, NODE1, NODE2, snapshot, uuidOf } from "./cluster-fixture.ts";
import { FENCE, type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

const SHARED = ["a.gnt.test", "b.gnt.test", "c.gnt.test", "d.gnt.test"];

describe("of the remote API", () => {
  let bed: RapiTestbed;
  beforeEach(async () => {
    bed = await startRapiTestbed();
    const put = SHARED.map((name) => instanceRow(name, { diskTemplate: "sharedfile" }));
    await bed.configStore.commit(({ cluster }: ConfigView) => {
      const templates = ["sharedfile", ...cluster.enabledDiskTemplates] as const;
      return [
        { kind: "cluster", put: { ...cluster, enabledDiskTemplates: [...templates] } },
        ...put.map((instance): ConfigChange => ({ kind: "instance", put: instance })),
      ];
    }, FENCE);
    bed.live.apply(
      uuidOf(NODE2),
      snapshot(
        NODE2,
        ["inst1.gnt.test", ...SHARED].map((name) => guest(name)),
      ),
    );
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  const ask = async <T>(path: string) => {
    const reply = await bed.get(path);
    expect(reply.status, `${path}: ${reply.text}`).toBe(200);
    return reply.json as T;
  };

  test("balance: guests leave the node that has them all, and the score falls with each move", async () => {
    const [group] =
      await ask<
        { score_before: number; score_after: number; moves: { instance: string; score: number; opcodes: object[] }[] }[]
      >("/2/plans/balance");
    expect(group?.moves.length).toBeGreaterThan(0);
    expect(group?.moves[0]).toMatchObject({ from: [NODE2], to: [NODE1] });
    expect(group?.moves[0]?.opcodes).toEqual([
      expect.objectContaining({ OP_ID: "OP_INSTANCE_MIGRATE", instance_name: group?.moves[0]?.instance }),
    ]);
    const scores = [group?.score_before, ...(group?.moves ?? []).map(({ score }) => score)];
    expect(scores).toEqual([...scores].sort((some = 0, other = 0) => other - some));
    expect(group?.score_after).toBeLessThan(group?.score_before ?? 0);
  });

  test("balance moves no more, and no others, than it may", async () => {
    const moved = async (query: string) => {
      const [group] = await ask<{ moves: { instance: string }[] }[]>(`/2/plans/balance?${query}`);
      return group?.moves.map(({ instance }) => instance);
    };
    expect(await moved("max_moves=1")).toHaveLength(1);
    expect(await moved("select=c.gnt.test")).toEqual(["c.gnt.test"]);
    expect(await moved(`exclude=inst1.gnt.test,inst5.gnt.test,${SHARED.join(",")}`)).toEqual([]);
    expect(await moved("no_instance_moves=1")).toEqual([]);
    expect(await moved("evacuate=1")).toEqual([]);
  });

  test("capacity: how many more fit, by template", async () => {
    const [counted] = await ask<{ count: number }[]>("/2/plans/capacity?group=default&disk_template=diskless");
    expect(counted).toMatchObject({ group: "default", disk_template: "diskless", spec: { "memory-size": 128 } });
    expect(counted?.count).toBeGreaterThan(0);
    const all = await ask<{ disk_template: string }[]>("/2/plans/capacity");
    expect(all.map((row) => row.disk_template)).toContain("sharedfile");
  });

  test("reboots: every node that is on, once, the master last, and which guests stand still", async () => {
    const live = await ask<{ nodes: string[] }[]>("/2/plans/reboots");
    expect(live.flatMap(({ nodes }) => nodes).sort()).toEqual([NODE1, NODE2]);
    expect(live.at(-1)?.nodes).toContain(NODE1);
  });

  test("squeeze and repairs: nothing where no node is on standby and none fails", async () => {
    expect(await ask("/2/plans/squeeze")).toEqual({ switch_off: [], switch_on: null });
    expect(await ask("/2/plans/repairs")).toEqual([]);
  });

  test("repairs: an instance whose node is offline, once its tags allow the repair", async () => {
    const offline = (view: ConfigView, tags: readonly string[]): readonly ConfigChange[] => {
      const [node, instance] = [view.findNode(NODE2), view.findInstance("a.gnt.test")];
      if (node === undefined || instance === undefined) throw new Error("rows are missing");
      return [
        { kind: "node", put: { ...node, offline: true } },
        { kind: "instance", put: { ...instance, tags: [...tags] } },
      ];
    };
    await bed.configStore.commit((view) => offline(view, []), FENCE);
    const need = { instance: "a.gnt.test", type: "failover", reason: `its primary node ${NODE2} is offline` };
    expect(await ask("/2/plans/repairs")).toContainEqual({ ...need, opcodes: null });
    await bed.configStore.commit((view) => offline(view, ["ganeti:watcher:autorepair:failover"]), FENCE);
    expect(await ask("/2/plans/repairs")).toContainEqual({
      ...need,
      opcodes: expect.arrayContaining([expect.objectContaining({ OP_ID: "OP_INSTANCE_FAILOVER" })]),
    });
  });

  test("what is wrong with a question is told", async () => {
    for (const [path, status, words] of [
      ["/2/plans/balance?group=nowhere", 400, "nowhere"],
      ["/2/plans/capacity?disk_template=punchcards", 400, "disk_template"],
      ["/2/plans/balance?max_moves=-1", 400, "max_moves"],
      ["/2/plans/fortune", 404, ""],
    ] as const) {
      const reply = await bed.get(path);
      expect([path, reply.status]).toEqual([path, status]);
      expect(reply.text).toContain(words);
    }
  });
});

describe("in threads", () => {
  const order = {
    kind: "repairs",
    cluster: {
      version: 2,
      cluster_name: "c",
      cluster_tags: [],
      enabled_hypervisors: [],
      ipolicy: {},
      nodegroups: {},
      nodes: {},
      instances: {},
    },
    options: { now: 0 },
  } as unknown as Parameters<Planner["plan"]>[0];

  test("one that nobody waits for any more makes room for the next", async () => {
    const planner = new Planner();
    const gone = new AbortController();
    const first = planner.plan(order, gone.signal);
    gone.abort();
    await expect(first).rejects.toThrow("aborted");
    expect(await planner.plan(order, new AbortController().signal)).toEqual([]);
  });

  test("more than a few at a time are refused", async () => {
    const planner = new Planner();
    const { signal } = new AbortController();
    const few = Array.from({ length: 8 }, () => planner.plan(order, signal));
    await expect(planner.plan(order, signal)).rejects.toThrow(Unavailable);
    expect(await Promise.all(few)).toHaveLength(8);
  });

  test("a plan that cannot be computed fails, and the next one does not", async () => {
    const planner = new Planner();
    const { signal } = new AbortController();
    await expect(planner.plan({ ...order, cluster: null as never }, signal)).rejects.toThrow();
    expect(await planner.plan(order, signal)).toEqual([]);
  });
});
