/** Instances that go to another node group: the jobs that bring them there. */
import type { Job } from "@gannet/job-ledger";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const [MOVES, STAYS] = ["moves.gnt.test", "stays.gnt.test"] as const;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  for (const [name, more] of [
    [MOVES, { disk_template: "sharedfile" }],
    [STAYS, { disk_template: "plain" }],
  ] as const)
    await bed.succeed("OP_INSTANCE_CREATE", {
      ...{ instance_name: name, mode: "create", disks: [{ size: 1024 }], nics: [{}], os_type: "noop", pnode: NODE1 },
      ...{ hypervisor: "fake", start: false, ...more },
    });
  await bed.succeed("OP_GROUP_ADD", { group_name: "other" });
  await bed.succeed("OP_GROUP_ADD", { group_name: "empty" });
  await bed.succeed("OP_GROUP_ASSIGN_NODES", { group_name: "other", nodes: [NODE3] });
});
afterAll(() => bed[Symbol.asyncDispose]());

const jobsOf = (result: unknown): Promise<Job[]> =>
  Promise.all((result as { jobs: [boolean, number][] }).jobs.map(([, id]) => bed.ended(id)));
const workOf = (jobs: readonly Job[]) =>
  jobs.map(({ opcodes }) => opcodes.map(({ input }) => [input.OP_ID, input.instance_name, input.target_node ?? null]));

async function refused(id: string, params: Readonly<Record<string, unknown>>, code: string, words: RegExp) {
  expect((await bed.run(id, params)).result).toEqual(["OpPrereqError", [expect.stringMatching(words), code]]);
}

describe("OP_INSTANCE_CHANGE_GROUP", () => {
  const change = (params: Readonly<Record<string, unknown>> = {}) => ({ instance_name: MOVES, ...params });

  test.each([
    ["a group that is not there", change({ target_groups: ["nowhere"] }), "unknown_entity", /nowhere/],
    ["the group it is in", change({ target_groups: ["default"] }), "wrong_input", /in group default already/],
    ["a group without nodes", change({ target_groups: ["empty"] }), "insufficient_resources", /cannot be moved/],
    [
      "disks that cannot leave their node",
      { instance_name: STAYS },
      "insufficient_resources",
      /cannot be relocated|move/,
    ],
    ["an instance that is not there", { instance_name: "none.gnt.test" }, "unknown_entity", /none/],
  ])("is refused for %s", async (_what, params, code, words) => {
    await refused("OP_INSTANCE_CHANGE_GROUP", params, code, words);
  });

  test("submits the jobs that move the instance to a node of the group", async () => {
    const { result, log } = await bed.succeed("OP_INSTANCE_CHANGE_GROUP", change({ target_groups: ["other"] }));
    expect(log.join("\n")).toContain(`${MOVES} (to ${NODE3})`);
    expect(workOf(await jobsOf(result)).flat()).toContainEqual([expect.any(String), MOVES, NODE3]);
  });
});

describe("OP_GROUP_EVACUATE", () => {
  test("submits jobs for what can go, and tells what cannot", async () => {
    await bed.setNode(NODE2, { offline: false });
    const home = bed.view.nodes.get(bed.instance(MOVES).primaryNode)?.name === NODE3 ? "other" : "default";
    const { result, log } = await bed.succeed("OP_GROUP_EVACUATE", { group_name: home, force_failover: true });
    const work = workOf(await jobsOf(result)).flat();
    expect(work.map(([id]) => id)).not.toContain("OP_INSTANCE_MIGRATE");
    expect(work).toContainEqual(["OP_INSTANCE_FAILOVER", MOVES, expect.any(String)]);
    if (home === "default") expect(log.join("\n")).toContain(`Unable to evacuate instances ${STAYS}`);
  });

  test("is refused where there is nowhere to go", async () => {
    await refused("OP_GROUP_EVACUATE", { group_name: "default", target_groups: ["default"] }, "wrong_input", /already/);
    await refused("OP_GROUP_EVACUATE", { group_name: "nowhere" }, "unknown_entity", /nowhere/);
  });
});
