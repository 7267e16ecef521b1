/** OP_EXT_STORAGE_DIAGNOSE: what the agents report of external storage providers, as Ganeti tells it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { nodeState, snapshot } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const DIAGNOSE = "OP_EXT_STORAGE_DIAGNOSE";
const FIELDS = ["name", "node_status", "nodegroup_status", "parameters"];

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

function reports(node: string, problem: string | undefined): void {
  const path = "/usr/share/ganeti/extstorage/pvdr";
  const parameters = [{ name: "lun", help: "Which one" }];
  const extStorage = problem === undefined ? [] : [{ name: "pvdr", path, valid: problem === "", problem, parameters }];
  const state = snapshot(node);
  if (state.update?.$case !== "snapshot") throw new Error("no snapshot");
  const value = { ...state.update.value, node: nodeState(node, { extStorage }) };
  bed.live.apply(bed.uuidOf(node), { update: { $case: "snapshot", value } });
}

test("tells where providers are, whether a group can use them, and their parameters", async () => {
  expect((await bed.succeed(DIAGNOSE, { output_fields: FIELDS })).result).toEqual([]);
  for (const node of NODES) reports(node, "");
  const row = ["/usr/share/ganeti/extstorage/pvdr", true, "", [["lun", "Which one"]]];
  expect((await bed.succeed(DIAGNOSE, { output_fields: FIELDS })).result).toEqual([
    ["pvdr", { [NODE1]: [row], [NODE2]: [row], [NODE3]: [row] }, { default: true }, [["lun", "Which one"]]],
  ]);
  reports(NODE2, "it has no script attach");
  reports(NODE3, undefined);
  const status = { output_fields: ["nodegroup_status"], names: ["pvdr"] };
  expect((await bed.succeed(DIAGNOSE, status)).result).toEqual([[{ default: false }]]);
  expect((await bed.succeed(DIAGNOSE, { ...status, names: ["other"] })).result).toEqual([]);
});

test("refuses a field that there is not", async () => {
  const { result } = await bed.run(DIAGNOSE, { output_fields: ["nosuch"] });
  expect(result).toEqual(["OpPrereqError", [expect.stringContaining("nosuch"), "wrong_input"]]);
});
