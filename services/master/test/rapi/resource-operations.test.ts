/** Each resource of the cluster, its groups and its networks, from the request to what a client then reads. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NODE2, NODE10 } from "./cluster-fixture.ts";
import { type JobBed, startJobBed } from "./job-bed.ts";

let bed: JobBed;
beforeAll(async () => {
  bed = await startJobBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

const read = async (path: string) => (await bed.rapi.get(path)).json as Record<string, unknown>;
/** What the job's only opcode came to. */
const outcome = async (method: string, path: string, json?: unknown) => {
  const { status, opcodes } = await bed.run(method, path, json);
  return [status, opcodes[0]?.result] as const;
};

describe("/2/modify", () => {
  test("changes the cluster, as /2/info tells", async () => {
    const change = { candidate_pool_size: 4, beparams: { memory: "256" }, hidden_os: [["add", "noop"]] };
    expect(await outcome("PUT", "/2/modify", change)).toEqual(["success", null]);
    expect(await read("/2/info")).toMatchObject({
      candidate_pool_size: 4,
      beparams: { default: { maxmem: 256, minmem: 256 } },
      hidden_os: ["noop"],
    });
  });

  test("moves the number of jobs that run, at once", async () => {
    await bed.run("PUT", "/2/modify", { max_running_jobs: 1 });
    expect(await mostAtOnce(3, 0.1)).toBe(1);
    await bed.run("PUT", "/2/modify", { max_running_jobs: 3 });
    expect(await mostAtOnce(5, 0.5)).toBe(3);
    await bed.run("PUT", "/2/modify", { max_running_jobs: 20 });
  });
});

/**
 * Submit jobs that do nothing for a time, and let them end.
 * @returns how many of them were in that time together
 */
async function mostAtOnce(count: number, duration: number): Promise<number> {
  const ids: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const input = { OP_ID: "OP_TEST_DELAY", duration, priority: 0, depends: null };
    ids.push(...(await bed.rapi.ledger.submit([{ requester: "admin", opcodes: [{ input, summary: "DELAY" }] }])));
  }
  await Promise.all(ids.map((id) => bed.wake(id)));
  const begun = (await Promise.all(ids.map((id) => bed.ended(id)))).map(({ opcodes }) => {
    const [seconds = 0, microseconds = 0] = opcodes[0]?.execTimestamp ?? [];
    return seconds + microseconds / 1e6;
  });
  return Math.max(...begun.map((at) => begun.filter((from) => from <= at && at < from + duration * 0.9).length));
}

test("/2/redistribute-config", async () => {
  const { serialNo } = bed.rapi.configStore.view.cluster;
  expect(await outcome("PUT", "/2/redistribute-config")).toEqual(["success", null]);
  expect(bed.rapi.configStore.view.cluster.serialNo).toBeGreaterThan(serialNo);
});

describe("/2/groups", () => {
  test("added, changed, renamed, tagged, given nodes, emptied and removed", async () => {
    const added = { group_name: "rack2", alloc_policy: "last_resort", ndparams: { spindle_count: 2 } };
    expect(await outcome("POST", "/2/groups", added)).toEqual(["success", null]);
    expect(await read("/2/groups/rack2")).toMatchObject({ alloc_policy: "last_resort", node_list: [] });
    const change = { custom_ipolicy: { "vcpu-ratio": 3 }, ndparams: { spindle_count: 5 } };
    expect(await outcome("PUT", "/2/groups/rack2/modify", change)).toEqual([
      "success",
      [["ndparams", JSON.stringify({ spindle_count: 5 })]],
    ]);
    expect(await outcome("PUT", "/2/groups/rack2/rename", { new_name: "rack3" })).toEqual(["success", "rack3"]);
    expect(await outcome("PUT", "/2/groups/rack3/tags?tag=cold&tag=old")).toEqual(["success", null]);
    expect(await outcome("DELETE", "/2/groups/rack3/tags?tag=old")).toEqual(["success", null]);
    expect(await outcome("PUT", "/2/groups/rack3/assign-nodes", { nodes: [NODE10] })).toEqual(["success", null]);
    expect(await read("/2/groups/rack3")).toMatchObject({
      ...{ name: "rack3", node_list: [NODE10], tags: ["cold"], custom_ipolicy: { "vcpu-ratio": 3 } },
      ndparams: { spindle_count: 5 },
    });
    expect(await outcome("DELETE", "/2/groups/rack3")).toEqual([
      "error",
      ["OpPrereqError", [expect.stringContaining(NODE10), "wrong_state"]],
    ]);
    await bed.run("PUT", "/2/groups/default/assign-nodes", { nodes: [NODE10] });
    expect(await outcome("DELETE", "/2/groups/rack3")).toEqual(["success", null]);
    expect((await bed.rapi.get("/2/groups/rack3")).status).toBe(404);
  });

  test("a dry run changes nothing", async () => {
    expect(await outcome("POST", "/2/groups?dry-run=1", { group_name: "never" })).toEqual(["success", null]);
    expect((await bed.rapi.get("/2/groups/never")).status).toBe(404);
  });
});

describe("/2/networks", () => {
  test("added, connected, changed, renamed, tagged, disconnected and removed", async () => {
    const added = { network_name: "lan", network: "203.0.113.0/29", gateway: "203.0.113.1", tags: ["a"] };
    expect(await outcome("POST", "/2/networks", added)).toEqual(["success", null]);
    const connection = { group_name: "default", network_mode: "bridged", network_link: "br0" };
    expect(await outcome("PUT", "/2/networks/lan/connect", connection)).toEqual(["success", null]);
    const change = { add_reserved_ips: ["203.0.113.3"], gateway: "203.0.113.2" };
    expect(await outcome("PUT", "/2/networks/lan/modify", change)).toEqual(["success", null]);
    expect(await outcome("PUT", "/2/networks/lan/rename", { new_name: "dmz" })).toEqual(["success", "dmz"]);
    expect(await outcome("PUT", "/2/networks/dmz/tags?tag=b")).toEqual(["success", null]);
    expect(await outcome("DELETE", "/2/networks/dmz/tags?tag=a")).toEqual(["success", null]);
    expect(await read("/2/networks/dmz")).toMatchObject({
      ...{ name: "dmz", gateway: "203.0.113.2", map: "X.XX...X", tags: ["b"], free_count: 4, reserved_count: 4 },
      group_list: [["default", "bridged", "br0", ""]],
    });
    const remove = () => outcome("DELETE", "/2/networks/dmz");
    expect(await remove()).toEqual([
      "error",
      ["OpPrereqError", [expect.stringContaining("still connected"), "wrong_state"]],
    ]);
    expect(await outcome("PUT", "/2/networks/dmz/disconnect", { group_name: "default" })).toEqual(["success", null]);
    expect(await remove()).toEqual(["success", null]);
    expect((await bed.rapi.get("/2/networks/dmz")).status).toBe(404);
  });

  test("an instance draws its address from one", async () => {
    await bed.run("POST", "/2/networks", { network_name: "pool", network: "198.18.0.0/29" });
    const connection = { group_name: "default", network_mode: "bridged", network_link: "br1" };
    await bed.run("PUT", "/2/networks/pool/connect", connection);
    const request = {
      ...{ __version__: 1, mode: "create", instance_name: "net1.gnt.test", disk_template: "diskless", disks: [] },
      ...{ nics: [{ network: "pool", ip: "pool" }], os_type: "noop", pnode: NODE2, hypervisor: "fake", start: false },
    };
    expect((await outcome("POST", "/2/instances", request))[0]).toBe("success");
    expect(await read("/2/instances/net1.gnt.test")).toMatchObject({
      ...{ "nic.ips": ["198.18.0.1"], "nic.links": ["br1"], "nic.networks.names": ["pool"] },
    });
    expect(await read("/2/networks/pool")).toMatchObject({ map: "XX.....X" });
    await bed.run("DELETE", "/2/instances/net1.gnt.test");
    expect(await read("/2/networks/pool")).toMatchObject({ map: "X......X" });
  });
});
