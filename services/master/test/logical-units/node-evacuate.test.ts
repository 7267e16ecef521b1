/** Instances off a node: the jobs that other jobs submit, and what they come to. */
import type { Job } from "@gannet/job-ledger";
import { parseOpcode } from "@gannet/opcodes";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const MIRRORED = ["db1.gnt.test", "db2.gnt.test"] as const;
const PLAIN = "plain1.gnt.test";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed({ defaultIallocator: "hail" });
  for (const name of MIRRORED) await create(name, { disk_template: "drbd", pnode: NODE1, snode: NODE2 });
  await create("db3.gnt.test", { disk_template: "drbd", pnode: NODE2, snode: NODE3 });
  await create(PLAIN, { disk_template: "plain", pnode: NODE2 });
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  await bed.ledger.setDrained(false);
  await bed.setCluster({ defaultIallocator: "hail" });
});

async function create(name: string, more: Readonly<Record<string, unknown>>): Promise<void> {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: name, mode: "create", disks: [{ size: 1024 }], nics: [], os_type: "noop", hypervisor: "fake" },
    ...{ start: false, ignore_ipolicy: true, ...more },
  });
}

const ids = (result: unknown) => (result as { jobs: [boolean, number][] }).jobs.map(([, id]) => id);
const jobsOf = (result: unknown): Promise<Job[]> => Promise.all(ids(result).map(bed.ended));
/** What each job is to do. The scripted nodes cannot do all of it, and what fails is undone. */
const workOf = (jobs: readonly Job[]) =>
  jobs.map(({ opcodes }) =>
    opcodes.map(({ input }) => [input.OP_ID, input.instance_name, input.remote_node ?? input.target_node ?? null]),
  );
const replacement = (name: string, node: string) => [["OP_INSTANCE_REPLACE_DISKS", name, node]];

async function refused(id: string, params: Readonly<Record<string, unknown>>, code: string, words: RegExp) {
  const before = await bed.ledger.lastId();
  const { result } = await bed.run(id, params);
  expect(result).toEqual(["OpPrereqError", [expect.stringMatching(words), code]]);
  expect(await bed.ledger.lastId()).toBe(before + 1);
}

describe("OP_NODE_EVACUATE", () => {
  const evacuate = (params: Readonly<Record<string, unknown>>) =>
    bed.succeed("OP_NODE_EVACUATE", { node_name: NODE2, mode: "secondary-only", ...params });

  test("moves second copies to the node that is named", async () => {
    const { result } = await evacuate({ remote_node: NODE3, early_release: true });
    const jobs = await jobsOf(result);
    expect(workOf(jobs)).toEqual(MIRRORED.map((name) => replacement(name, NODE3)));
    expect(jobs[0]?.opcodes[0]?.input).toMatchObject({ early_release: true, mode: "replace_new_secondary" });
  });

  test("moves second copies where the allocator finds room", async () => {
    const { result, log } = await evacuate({ iallocator: "hail", early_release: true });
    const jobs = await jobsOf(result);
    expect(workOf(jobs)).toEqual(MIRRORED.map((name) => replacement(name, NODE3)));
    expect(jobs[0]?.opcodes[0]?.input).toMatchObject({ early_release: true });
    expect(log.join("\n")).toContain(`Instances to be moved: ${MIRRORED[0]} (to ${NODE1}, ${NODE3})`);
  });

  test("moves instances to where they have their second copy", async () => {
    const { result } = await evacuate({ node_name: NODE1, mode: "primary-only" });
    expect(workOf(await jobsOf(result))).toEqual(MIRRORED.map((name) => [["OP_INSTANCE_MIGRATE", name, null]]));
  });

  test("of all copies moves the first and the second ones, and tells which have no place to go", async () => {
    const { result, log } = await evacuate({ mode: "all" });
    expect(workOf(await jobsOf(result))).toEqual([
      [["OP_INSTANCE_MIGRATE", "db3.gnt.test", null]],
      ...MIRRORED.map((name) => replacement(name, NODE3)),
    ]);
    expect(log.join("\n")).toMatch(new RegExp(`WARNING: Unable to evacuate instances ${PLAIN} \\(`));
  });

  test("of a node without any submits nothing; a dry run neither", async () => {
    const before = await bed.ledger.lastId();
    expect((await evacuate({ node_name: NODE1 })).result).toEqual({ jobs: [] });
    expect((await evacuate({ remote_node: NODE3, dry_run: true })).result).toBeNull();
    expect(await bed.ledger.lastId()).toBe(before + 2);
  });

  test.each([
    [{ node_name: "node9.gnt.test" }, "unknown_entity", /not known/],
    [{ remote_node: "node9.gnt.test" }, "unknown_entity", /not known/],
    [{ remote_node: NODE2 }, "wrong_input", /is evacuated/],
    [{ remote_node: NODE1 }, "wrong_input", /is the primary of instance db1/],
    [{ remote_node: NODE3, iallocator: "hail" }, "wrong_input", /either/],
    [{ remote_node: NODE3, mode: "primary-only" }, "wrong_input", /only secondary copies/],
    [{ remote_node: NODE3, mode: "all" }, "wrong_input", /only secondary copies/],
  ])("refuses %j", async (params, code, words) => {
    await refused("OP_NODE_EVACUATE", { node_name: NODE2, mode: "secondary-only", ...params }, code, words);
  });

  test("needs an allocator or a node that can be used", async () => {
    await bed.setNode(NODE3, { drained: true, masterCandidate: false });
    const params = { node_name: NODE2, mode: "secondary-only" };
    await refused("OP_NODE_EVACUATE", { ...params, remote_node: NODE3 }, "wrong_state", /drained/);
    await bed.setNode(NODE3, { drained: false, masterCandidate: true });
    await bed.setCluster({ defaultIallocator: "" });
    await refused("OP_NODE_EVACUATE", params, "wrong_input", /no default allocator/);
  });

  test("locks the node, where its instances may go, and these", () => {
    const locksOf = (more: Readonly<Record<string, unknown>>) => {
      const { op } = parseOpcode({ OP_ID: "OP_NODE_EVACUATE", node_name: NODE2, mode: "secondary-only", ...more });
      const names = new Map<string, string>([...bed.view.nodes.values()].map(({ uuid, name }) => [uuid, name]));
      const wishes = LOGICAL_UNITS.get("OP_NODE_EVACUATE")?.locks(op, bed.view) ?? [];
      return wishes.map(
        ({ level, name, mode }) => `${mode} ${level}/${level === "nodegroup" ? "" : (names.get(name) ?? name)}`,
      );
    };
    const instances = MIRRORED.map((name) => `shared instance/${name}`);
    const nodes = (...list: readonly string[]) => list.map((name) => `shared node/${name}`);
    expect(locksOf({ remote_node: NODE3 })).toEqual([...instances, "shared nodegroup/", ...nodes(NODE2, NODE3)]);
    expect(locksOf({ mode: "all" })).toEqual([
      ...["db3.gnt.test", PLAIN, ...MIRRORED].map((name) => `shared instance/${name}`),
      "shared nodegroup/",
      ...nodes(NODE2, NODE1, NODE3),
    ]);
    expect(locksOf({})).toEqual([...instances, "shared nodegroup/", ...nodes(NODE2, NODE1, NODE3)]);
  });
});

describe("OP_NODE_MIGRATE", () => {
  test("submits a migration of each instance that runs there, in its own name", async () => {
    const reason: [string, string, number][] = [["gnt:user", "maintenance", 1]];
    const { result } = await bed.succeed("OP_NODE_MIGRATE", {
      ...{ node_name: NODE1, live: true, allow_runtime_changes: false, ignore_ipolicy: true },
      ...{ priority: 10, debug_level: 2, reason },
    });
    const [parent = 0] = ids(result);
    const jobs = await jobsOf(result);
    expect(jobs.map(({ requester, summary }) => [requester, summary])).toEqual(
      MIRRORED.map((name) => ["tester", [`INSTANCE_MIGRATE(${name})`]]),
    );
    expect(jobs[0]?.opcodes[0]?.input).toMatchObject({
      ...{ live: true, mode: null, target_node: null, allow_runtime_changes: false, ignore_ipolicy: true },
      ...{ priority: 10, debug_level: 2, comment: "Submitted by OP_NODE_MIGRATE" },
      reason: [...reason, ["gnt:opcode:node_migrate", `job=${parent - 1};index=0`, expect.any(Number)]],
    });
    // They do not run, which each of the jobs finds out.
    expect(jobs.map(({ status }) => status)).toEqual(["error", "error"]);
  });

  test.each([
    [{ node_name: "node9.gnt.test" }, "unknown_entity", /not known/],
    [{ target_node: "node9.gnt.test" }, "unknown_entity", /not known/],
    [{ target_node: NODE1 }, "wrong_input", /cannot be migrated to it/],
    [{ target_node: NODE2, iallocator: "hail" }, "wrong_input", /either/],
  ])("refuses %j", (params, code, words) => refused("OP_NODE_MIGRATE", { node_name: NODE1, ...params }, code, words));
});

test("an opcode whose jobs the queue does not take fails as a whole", async () => {
  bed.nodes.onCall = async ({ method }) => {
    if (method === "node.describe") await bed.ledger.setDrained(true);
  };
  const before = await bed.ledger.lastId();
  const { result } = await bed.run("OP_NODE_EVACUATE", { node_name: NODE1, mode: "primary-only" });
  bed.nodes.onCall = undefined;
  expect(result).toEqual(["JobQueueDrainError", [expect.any(String)]]);
  expect(await bed.ledger.lastId()).toBe(before + 1);
});
