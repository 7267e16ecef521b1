import { type AllocatorRequest, checkedResult } from "@gannet/allocator";
import { OpExecError, OpPrereqError, ResultValidationError } from "@gannet/errors";
import { describe, expect, it } from "vitest";
import { allocateRequest, clusterOf, GROUP_A, GROUP_B, newInstance } from "./clusters.ts";

const cluster = clusterOf({
  groups: { [GROUP_A]: {}, [GROUP_B]: {} },
  nodes: { a: {}, b: {}, c: {}, far: { group: GROUP_B } },
  instances: { web: { nodes: ["a", "b"] }, db: { nodes: ["b", "c"] } },
});
const relocate = {
  type: "relocate",
  name: "web",
  disk_space_total: 0,
  required_nodes: 1,
  relocate_from: ["b"],
} as const;
const evacuate = { type: "node-evacuate", instances: ["web", "db"], evac_mode: "all" } as const;
const multi = { type: "multi-allocate", instances: [newInstance({ name: "x" }), newInstance({ name: "y" })] } as const;

function answered(request: AllocatorRequest, result: unknown) {
  return checkedResult({ ...cluster, request }, { success: true, info: "", result });
}

describe("checkedResult", () => {
  it("reads the result of every request", () => {
    const job = [{ OP_ID: "OP_INSTANCE_MIGRATE", instance_name: "web" }];
    expect(answered(allocateRequest(), ["a", "b"])).toEqual(["a", "b"]);
    expect(answered(relocate, ["c"])).toEqual(["c"]);
    expect(answered({ type: "allocate-secondary", name: "web" }, "c")).toBe("c");
    expect(answered(evacuate, [[["web", "group-a", ["b", "c"]]], [["db", null]], [job]])).toEqual({
      moved: [["web", "group-a", ["b", "c"]]],
      failed: [["db", null]],
      jobs: [job],
    });
    expect(answered(multi, [[["x", ["a", "b"]]], ["y"]])).toEqual({ placed: [["x", ["a", "b"]]], failed: ["y"] });
  });

  it("takes the older name of the result", () => {
    const output = { success: true, info: "", nodes: ["a", "b"] };
    expect(checkedResult({ ...cluster, request: allocateRequest() }, output)).toEqual(["a", "b"]);
  });

  it.each([
    ["no object", null],
    ["no success", { info: "", result: [] }],
    ["no info", { success: true, result: [] }],
    ["no result", { success: true, info: "" }],
    ["another type", { success: "yes", info: "", result: [] }],
  ])("refuses an answer with %s", (_, output) => {
    expect(() => checkedResult({ ...cluster, request: allocateRequest() }, output)).toThrow(OpExecError);
  });

  it("says that nothing was found, and whether it may be later", () => {
    const output = { success: false, info: "FailMem: 2", result: [] };
    const errorOf = (request: AllocatorRequest) => {
      try {
        return checkedResult({ ...cluster, request }, output);
      } catch (error) {
        return error;
      }
    };
    expect(errorOf(allocateRequest())).toMatchObject({ code: "insufficient_resources" });
    const restricted = errorOf(allocateRequest({ "restrict-to-nodes": ["a"] }));
    expect(restricted).toBeInstanceOf(OpPrereqError);
    expect(restricted).toMatchObject({
      code: "temp_insufficient_resources",
      message: "The allocator found no solution: FailMem: 2",
    });
  });

  it.each<[string, AllocatorRequest, unknown]>([
    ["no list", allocateRequest(), "a"],
    ["too few nodes", allocateRequest(), ["a"]],
    ["too many nodes", allocateRequest({ disk_template: "plain", required_nodes: 1 }), ["a", "b"]],
    ["an unknown node", allocateRequest(), ["a", "nowhere"]],
    ["a node by an object's own key", allocateRequest(), ["a", "constructor"]],
    ["a node twice", allocateRequest(), ["a", "a"]],
    ["another group", relocate, ["far"]],
    ["two new nodes", relocate, ["b", "c"]],
    ["an instance that nobody asked for", evacuate, [[["other", "group-a", ["a", "b"]]], [], []]],
    ["an instance twice", evacuate, [[["web", "group-a", ["b", "c"]]], [["web", null]], []]],
    ["an unknown new node", evacuate, [[["web", "group-a", ["b", "nowhere"]]], [], []]],
    ["jobs without opcodes", evacuate, [[], [], [[{}]]]],
    ["an instance left out", multi, [[["x", ["a", "b"]]], []]],
    ["too few nodes for one", multi, [[["x", ["a"]]], ["y"]]],
    ["no node name", { type: "allocate-secondary", name: "web" }, ["c"]],
    ["an unknown secondary", { type: "allocate-secondary", name: "web" }, "nowhere"],
  ])("refuses a result with %s", (_, request, result) => {
    expect(() => answered(request, result)).toThrow(ResultValidationError);
  });
});
