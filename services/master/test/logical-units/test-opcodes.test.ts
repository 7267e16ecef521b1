/** The opcodes that try the machinery itself, the queries that run as jobs, and what is refused for now. */
import { existsSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import type { AllocatorInput } from "@gannet/allocator";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { LOGICAL_UNITS, unavailableIn } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const WEB = "web1.gnt.test";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: WEB, mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], nics: [{}] },
    ...{ os_type: "noop", pnode: NODE1, snode: NODE2, hypervisor: "fake" },
  });
});
afterAll(() => bed[Symbol.asyncDispose]());

const refusal = async (id: string, params: Readonly<Record<string, unknown>>) => (await bed.run(id, params)).result;
const prereq = (words: RegExp, code: string) => ["OpPrereqError", [expect.stringMatching(words), code]];

test("OP_TEST_DELAY waits on nodes that are named by their names or their UUIDs", async () => {
  const delay = { duration: 0, on_master: false };
  await bed.succeed("OP_TEST_DELAY", { ...delay, on_nodes: [NODE2] });
  await bed.succeed("OP_TEST_DELAY", { ...delay, on_node_uuids: [bed.uuidOf(NODE1), bed.uuidOf(NODE2)] });
  expect(bed.nodes.story("node.delay").map((line) => line.split(" ")[0])).toEqual([NODE2, NODE1, NODE2]);
});

test("OP_TEST_DELAY that is interruptible ends when somebody connects to its socket, and leaves no socket", async () => {
  const running = bed.succeed("OP_TEST_DELAY", { duration: 3_600, interruptible: true });
  const socket = await vi.waitFor(async () => {
    const jobs = await bed.ledger.list({ archived: false });
    const [entry] = jobs.flatMap(({ opcodes }) => opcodes[0]?.log ?? []).filter(([, , type]) => type === "delay-test");
    if (entry === undefined) throw new Error("the delay has not begun");
    return String(entry[3]);
  });
  const connection = connect(socket);
  connection.on("error", () => undefined);
  await running;
  connection.destroy();
  expect(existsSync(path.dirname(socket))).toBe(false);
});

test("OP_TEST_DELAY that is interruptible waits nowhere but on the master", async () => {
  for (const params of [{ on_nodes: [NODE2] }, { on_master: false }, { repeat: 2 }])
    expect(await refusal("OP_TEST_DELAY", { duration: 1, interruptible: true, ...params })).toEqual(
      prereq(/on the master only/, "wrong_input"),
    );
});

describe("OP_TEST_JQUEUE", () => {
  test("logs what it is told to, in order", async () => {
    const { result, log } = await bed.succeed("OP_TEST_JQUEUE", {
      ...{ notify_exec: true, log_messages: ["one", "two"] },
    });
    expect(result).toBe(true);
    expect(log).toEqual([
      ",exec,",
      " - INFO: Executing",
      ",startmsg,2",
      " - INFO: Sending log message 1",
      "TESTMSG=one",
      ",logmsg,1",
      " - INFO: Sending log message 2",
      "TESTMSG=two",
      ",logmsg,2",
    ]);
  });

  test("fails when it is told to, under the master's lock", async () => {
    expect(await refusal("OP_TEST_JQUEUE", { fail: true })).toEqual(["OpExecError", ["Opcode failure was requested"]]);
    const locks = LOGICAL_UNITS.get("OP_TEST_JQUEUE")?.locks({} as never, bed.view);
    expect(locks).toEqual([{ level: "node", name: bed.uuidOf(NODE1), mode: "exclusive" }]);
  });
});

describe("OP_TEST_OS_PARAMS", () => {
  test("names the secret parameters that it gets, and never their values", async () => {
    const { log } = await bed.succeed("OP_TEST_OS_PARAMS", { osparams_secret: { token: "hidden-word", key: "k" } });
    expect(log).toEqual([" - INFO: Secret OS parameters: key, token"]);
    expect(await bed.ledgerText()).not.toContain("hidden-word");
    expect(await refusal("OP_TEST_OS_PARAMS", {})).toEqual(["OpExecError", ["Opcode needs secret parameters"]]);
  });
});

describe("OP_TEST_ALLOCATOR", () => {
  const NEW = { name: "new.gnt.test", disks: [{ size: 1024 }], nics: [{}], os: "noop", disk_template: "plain" };
  const question = async (params: Readonly<Record<string, unknown>>): Promise<AllocatorInput> =>
    JSON.parse((await bed.succeed("OP_TEST_ALLOCATOR", { direction: "in", ...params })).result as string);

  test.each([
    [
      { ...NEW, mode: "allocate", memory: 256, vcpus: 3, hypervisor: "fake", tags: ["t"] },
      { type: "allocate", name: NEW.name, memory: 256, vcpus: 3, disk_space_total: 1024, required_nodes: 1 },
    ],
    [
      { ...NEW, mode: "multi-allocate", count: 2, hypervisor: "fake" },
      { type: "multi-allocate", instances: [{ name: `${NEW.name}0` }, { name: `${NEW.name}1` }] },
    ],
    [
      { mode: "relocate", name: WEB },
      { type: "relocate", name: WEB, relocate_from: [NODE2], disk_space_total: 1152 },
    ],
    [
      { mode: "node-evacuate", name: "x", instances: [WEB], evac_mode: "secondary-only" },
      { type: "node-evacuate", instances: [WEB], evac_mode: "secondary-only" },
    ],
    [
      { mode: "change-group", name: "x", instances: [WEB], target_groups: ["default"] },
      { type: "change-group", instances: [WEB], target_groups: [expect.any(String)] },
    ],
    [
      { mode: "allocate-secondary", name: WEB },
      { type: "allocate-secondary", name: WEB },
    ],
  ])("shows what is asked: %j", async (params, request) => {
    const input = await question(params);
    expect(input.request).toMatchObject(request);
    expect(Object.keys(input.nodes).sort()).toEqual([...NODES]);
    expect(bed.view.instances.size).toBe(1);
  });

  test("shows what the allocator answers, ours or the site's", async () => {
    const out = { ...NEW, mode: "allocate", direction: "out", hypervisor: "fake" };
    const own = await bed.succeed("OP_TEST_ALLOCATOR", { ...out, iallocator: "hail" });
    expect(JSON.parse(own.result as string)).toMatchObject({ success: true, result: [expect.any(String)] });
    bed.nodes.named(NODE1).allocator = () => ({ output: '{"success": false, "info": "full", "result": []}' });
    const site = await bed.succeed("OP_TEST_ALLOCATOR", { ...out, iallocator: "ours" });
    expect(JSON.parse(site.result as string)).toEqual({ success: false, info: "full", result: [] });
  });

  test.each([
    [{ ...NEW, mode: "allocate", direction: "out", hypervisor: "fake" }, /iallocator/, "wrong_input"],
    [{ ...NEW, mode: "allocate", name: WEB, hypervisor: "fake" }, /already in the cluster/, "already_exists"],
    [{ mode: "allocate", name: "new.gnt.test" }, /needs disks/, "wrong_input"],
    [{ mode: "relocate", name: "nobody" }, /nobody/, "unknown_entity"],
    [{ mode: "node-evacuate", name: "x", instances: [WEB] }, /evac_mode/, "wrong_input"],
    [{ mode: "change-group", name: "x" }, /Name the instances/, "wrong_input"],
    [{ mode: "change-group", name: "x", instances: [WEB], target_groups: ["none"] }, /none/, "unknown_entity"],
  ])("refuses %j", async (params, words, code) => {
    expect(await refusal("OP_TEST_ALLOCATOR", { direction: "in", ...params })).toEqual(prereq(words, code));
  });
});

describe("OP_QUERY and OP_QUERY_FIELDS", () => {
  test("answer rows by fields and filter", async () => {
    const { result } = await bed.succeed("OP_QUERY", {
      ...{ what: "node", fields: ["name", "pinst_cnt", "nosuch"], qfilter: ["=", "name", NODE1] },
    });
    expect(result).toEqual({
      fields: [
        expect.objectContaining({ name: "name", kind: "text" }),
        expect.objectContaining({ name: "pinst_cnt", kind: "number" }),
        expect.objectContaining({ name: "nosuch", kind: "unknown" }),
      ],
      data: [
        [
          [0, NODE1],
          [0, 1],
          [1, null],
        ],
      ],
    });
  });

  test("describe fields", async () => {
    const { result } = await bed.succeed("OP_QUERY_FIELDS", { what: "instance", fields: ["name"] });
    expect(result).toEqual({ fields: [expect.objectContaining({ name: "name", title: "Instance" })] });
  });

  test.each([
    [{ what: "job", fields: ["id"] }, /\/2\/query\/job/],
    [{ what: "lock", fields: ["name"] }, /\/2\/query\/lock/],
    [{ what: "node", fields: ["name"], use_locking: true }, /use_locking/],
    [{ what: "node", fields: ["name"], qfilter: ["~~", "name"] }, /~~/],
  ])("refuse %j", async (params, words) => {
    expect(await refusal("OP_QUERY", params)).toEqual(prereq(words, "wrong_input"));
  });
});

describe("OP_CLUSTER_RENEW_CRYPTO", () => {
  test("renews no SSH keys, and no certificates on a master that looks after none", async () => {
    expect(unavailableIn({ OP_ID: "OP_CLUSTER_RENEW_CRYPTO", renew_ssh_keys: true })).toMatch(/SSH keys/);
    for (const params of [{ node_certificates: true }, { cluster_certificate: true }])
      expect(await refusal("OP_CLUSTER_RENEW_CRYPTO", params)).toEqual(
        prereq(/looks after no certificates/, "environment_error"),
      );
  });

  test("without any of them does nothing", async () => {
    expect(unavailableIn({ OP_ID: "OP_CLUSTER_RENEW_CRYPTO" })).toBeUndefined();
    expect((await bed.succeed("OP_CLUSTER_RENEW_CRYPTO", {})).result).toBeNull();
  });
});
