import { OpPrereqError } from "@gannet/errors";
import { describe, expect, expectTypeOf, test } from "vitest";
import {
  findOpcode,
  type InstanceCreate,
  type InstanceReboot,
  InstanceStartup,
  type Op,
  type OpResult,
  parseOpcode,
  redact,
  summaryOf,
  TagsGet,
  TestAllocator,
  TestDelay,
  wireOpcode,
} from "../src/index.ts";

function fault(json: unknown): string {
  try {
    parseOpcode(json);
  } catch (error) {
    if (error instanceof OpPrereqError) {
      expect(error.code).toBe("wrong_input");
      return error.message;
    }
    throw error;
  }
  throw new Error("was not refused");
}

const create = { OP_ID: "OP_INSTANCE_CREATE", instance_name: "web1", mode: "create", disks: [], nics: [{}] };

describe("refusals are one line that names the parameter and the fault", () => {
  test.each([
    [{ ...create, start: "yes" }, `Parameter 'start' must be true or false, not "yes"`],
    [{ ...create, mode: undefined }, "Parameter 'mode' is required"],
    [{ ...create, mode: null }, "Parameter 'mode' is required"],
    [{ ...create, instance_name: undefined }, "Parameter 'instance_name' is required"],
    [{ ...create, mode: "bogus" }, `Parameter 'mode' must be one of create, import, remote-import, not "bogus"`],
    [{ ...create, disks: "big" }, `Parameter 'disks' must be a list, not "big"`],
    [{ ...create, beparams: [] }, "Parameter 'beparams' must be an object, not a list"],
    [{ ...create, nosuch: 1 }, 'OP_INSTANCE_CREATE has no parameter "nosuch"'],
    [{ ...create, nics: [{}, { speed: 1 }] }, `Parameter 'nics[1]' has no key "speed"`],
    [{ ...create, nics: [{ ip: 5 }] }, "Parameter 'nics[0].ip' must be text, not 5"],
    [{ ...create, source_shutdown_timeout: -1 }, "Parameter 'source_shutdown_timeout' must be at least 0, not -1"],
    [
      { ...create, source_shutdown_timeout: 1.5 },
      "Parameter 'source_shutdown_timeout' must be a whole number, not 1.5",
    ],
    [{ ...create, src_node: "" }, "Parameter 'src_node' must not be empty"],
    [{ ...create, depends: "x" }, `Parameter 'depends' must be a list, not "x"`],
    [{ ...create, priority: 55 }, "Parameter 'priority' must be one of -10, 0, 10, not 55"],
    [{ ...create, hvparams: { "a b": 1 } }, "Parameter 'hvparams.a b' is no name that a key may have, not 1"],
  ])("%j", (json, expected) => {
    expect(fault(json)).toContain(expected);
  });

  test("values are cut short and cannot carry control characters", () => {
    const message = fault({ ...create, instance_name: `\u001b[31m${"x".repeat(5000)}` });
    expect(message.length).toBeLessThan(400);
    expect(message).toMatch(/^[\u0020-\u007e…]+$/);
  });

  test("a misspelt parameter is told before those that are missing", () => {
    expect(fault({ OP_ID: "OP_INSTANCE_CREATE", instance_nmae: "web1" })).toMatch(
      /^OP_INSTANCE_CREATE has no parameter "instance_nmae"; Parameter 'instance_name' is required/,
    );
  });

  test("several faults are told together, but not all of a hundred", () => {
    expect(fault({ OP_ID: "OP_INSTANCE_CREATE" }).split("; ").length).toBe(3);
    expect(fault({ ...create, nics: Array(100).fill({ ip: 5 }) }).split("; ").length).toBe(3);
  });

  test("secrets are not told", () => {
    const message = fault({ ...create, osparams_secret: { password: ["hunter2"] }, osparams_private: "hunter2" });
    expect(message).toContain("osparams_secret.password");
    expect(message).toContain("osparams_private");
    expect(message).not.toContain("hunter2");
  });
});

test("what is no opcode is refused", () => {
  for (const json of [null, undefined, 5, "x", []]) expect(fault(json)).toContain("OP_ID");
  expect(fault({})).toBe("An opcode must have the key OP_ID");
  for (const id of ["OP_NOSUCH", "", 5, null, "__proto__", "constructor", "OP_INSTANCE_STARTUP "])
    expect(fault({ OP_ID: id })).toContain("unknown opcode");
  expect(fault({ OP_ID: "OP_NODE_QUERY" })).toBe(
    'OP_ID "OP_NODE_QUERY" is an unknown opcode: it was removed after Ganeti 2.10; use OP_QUERY of node',
  );
  expect(findOpcode("OP_INSTANCE_QUERY")).toBeUndefined();
  expect(fault(JSON.parse('{"OP_ID": "OP_CLUSTER_QUERY", "__proto__": {}}'))).toContain("has no parameter");
});

test.each([
  [InstanceStartup, { instance_name: "web1" }, "INSTANCE_STARTUP(web1)"],
  [TestDelay, { duration: 0.5 }, "TEST_DELAY(0.5)"],
  [TestDelay, { duration: 0 }, "TEST_DELAY(0)"],
  [TestAllocator, { iallocator: null }, "TEST_ALLOCATOR(None)"],
  [TagsGet, { kind: "instance", name: "web1" }, "TAGS_GET(web1)"],
  [{ ...InstanceStartup, summary: "nodes" }, { nodes: ["a", "b"] }, "INSTANCE_STARTUP(a,b)"],
  [{ ...InstanceStartup, summary: null }, {}, "INSTANCE_STARTUP"],
])("the summary of %#", (declaration, op, expected) => {
  expect(summaryOf(declaration, op)).toBe(expected);
});

test("secret values are redacted wherever they stand, and the opcode itself is left alone", () => {
  const secret = { password: "hunter2", nested: { pin: 5 }, list: ["hunter2"], none: null };
  const op = {
    ...create,
    osparams: { dhcp: "yes" },
    osparams_private: secret,
    osparams_secret: null,
    instances: [{ osparams_secret: secret }],
  };
  const before = structuredClone(op);
  const redacted = redact(op);
  const expected = {
    password: "<redacted>",
    nested: { pin: "<redacted>" },
    list: ["<redacted>"],
    none: null,
  };
  expect(redacted).toEqual({ ...op, osparams_private: expected, instances: [{ osparams_secret: expected }] });
  expect(op).toEqual(before);
});

test("types follow from the declaration", () => {
  type Startup = Op<typeof InstanceStartup>;
  expectTypeOf<Startup["instance_name"]>().toEqualTypeOf<string>();
  expectTypeOf<Startup["force"]>().toEqualTypeOf<boolean>();
  expectTypeOf<Startup["instance_uuid"]>().toEqualTypeOf<string | null>();
  expectTypeOf<Op<typeof InstanceReboot>["reboot_type"]>().toEqualTypeOf<"full" | "hard" | "soft">();
  expectTypeOf<Op<typeof InstanceCreate>["disks"][number]["size"]>().toEqualTypeOf<number | undefined>();
  expectTypeOf<OpResult<typeof InstanceCreate>>().toEqualTypeOf<string[]>();
  expect(wireOpcode(InstanceStartup, { force: true })).toEqual({ OP_ID: "OP_INSTANCE_STARTUP", force: true });
});
