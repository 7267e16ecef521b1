/** Operations of the cluster as a whole that are no change of its parameters, and the search for tags. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed({ tags: ["site:a"] });
});
afterAll(() => bed[Symbol.asyncDispose]());

describe("OP_CLUSTER_RENAME", () => {
  test("gives another name, and tells when the name service does not know it", async () => {
    const job = await bed.succeed("OP_CLUSTER_RENAME", { name: "Other.invalid" });
    expect(job.result).toBe("other.invalid");
    expect(bed.view.cluster.name).toBe("other.invalid");
    expect(job.log.join("\n")).toMatch(/WARNING: other.invalid does not resolve/);
  });

  test.each([
    ["other.invalid", "wrong_input"],
    [NODES[1], "already_exists"],
  ])("refuses %s", async (name, code) => {
    const { result } = await bed.run("OP_CLUSTER_RENAME", { name });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), code]]);
  });
});

test("OP_CLUSTER_QUERY answers what /2/info does", async () => {
  const { result } = await bed.succeed("OP_CLUSTER_QUERY", {});
  expect(result).toMatchObject({ uuid: bed.view.cluster.uuid, tags: ["site:a"], master: NODES[0] });
});

test("OP_CLUSTER_CONFIG_QUERY answers fields in their order, null where there is no value", async () => {
  const asked = { output_fields: ["drain_flag", "master_node", "watcher_pause", "volume_group_name"] };
  expect((await bed.succeed("OP_CLUSTER_CONFIG_QUERY", asked)).result).toEqual([false, NODES[0], null, "xenvg"]);
  const { result } = await bed.run("OP_CLUSTER_CONFIG_QUERY", { output_fields: ["nosuch"] });
  expect(result).toEqual(["OpPrereqError", ["Unknown output field 'nosuch'", "wrong_input"]]);
});

test("OP_CLUSTER_POST_INIT", async () => {
  expect((await bed.succeed("OP_CLUSTER_POST_INIT", {})).result).toBe(true);
});

describe("OP_TAGS_SEARCH", () => {
  beforeAll(async () => {
    await bed.succeed("OP_NETWORK_ADD", { network_name: "lan", network: "203.0.113.0/24", tags: ["site:b"] });
    await bed.succeed("OP_TAGS_SET", { kind: "nodegroup", name: "default", tags: ["site:a", "rack"] });
    await bed.succeed("OP_TAGS_SET", { kind: "node", name: NODES[2], tags: ["website"] });
  });

  test("finds tags of all kinds of objects that match anywhere", async () => {
    expect((await bed.succeed("OP_TAGS_SEARCH", { pattern: "site" })).result).toEqual([
      ["/cluster", "site:a"],
      ["/network/lan", "site:b"],
      [`/nodes/${NODES[2]}`, "website"],
      ["/nodegroup/default", "site:a"],
    ]);
    expect((await bed.succeed("OP_TAGS_SEARCH", { pattern: "^ra.k$" })).result).toEqual([
      ["/nodegroup/default", "rack"],
    ]);
    expect((await bed.succeed("OP_TAGS_SEARCH", { pattern: "nosuch" })).result).toEqual([]);
  });

  test("refuses what is no pattern", async () => {
    const { result } = await bed.run("OP_TAGS_SEARCH", { pattern: "(" });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), "wrong_input"]]);
  });
});
