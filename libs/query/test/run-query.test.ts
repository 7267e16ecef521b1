import { OpPrereqError } from "@gannet/errors";
import { prepareQuery, resourceName, runQuery } from "@gannet/query";
import { describe, expect, it } from "vitest";
import {
  liveOf,
  NODES,
  running,
  sourceOf,
  testCluster,
  testGroup,
  testInstance,
  testNode,
  uuid,
  viewOf,
} from "./view.ts";

const names = ["inst10.test", "inst1.test", "inst2.test"];
const view = viewOf({
  cluster: testCluster(),
  nodes: [testNode(1), testNode(2)],
  groups: [testGroup()],
  instances: names.map((name, index) =>
    testInstance(name, {
      uuid: uuid(100 + index),
      primaryNode: name === "inst2.test" ? NODES[1] : NODES[0],
      tags: name === "inst1.test" ? ["red", "owner:bob"] : [],
      beparams: { maxmem: 128 * (index + 1) },
    }),
  ),
});
const live = liveOf({ [NODES[0]]: {} }, { "inst1.test": running(NODES[0]) });

const job = (id: number, own: object = {}) => ({
  id,
  status: "success",
  archived: false,
  summary: ["TEST_DELAY"],
  opcodes: [
    {
      input: { OP_ID: "OP_TEST_DELAY", osparams_secret: { password: "hunter2" } },
      status: "success",
      result: null,
      log: [],
      priority: -10,
      startTimestamp: null,
      execTimestamp: null,
      endTimestamp: null,
    },
  ],
  receivedTimestamp: [100 + id, 5] as const,
  startTimestamp: null,
  endTimestamp: null,
  ...own,
});
const source = sourceOf(view, live, { jobs: [job(11), job(2), job(3, { status: "error" })] });

function namesOf(filter: unknown, what: "instance" | "job" | "node" = "instance"): unknown[] {
  const [field = "name"] = what === "job" ? ["id"] : [];
  return runQuery({ what, fields: [field], filter }, source).data.map(([cell]) => cell?.[1]);
}

describe("runQuery", () => {
  it("answers rows in the order of numbers in names", () => {
    expect(namesOf(null)).toEqual(["inst1.test", "inst2.test", "inst10.test"]);
  });

  it("answers names in the order asked, short ones too, each once", () => {
    expect(namesOf(["|", ["=", "name", "inst2.test"], ["==", "name", "inst1"], ["=", "name", "inst1"]])).toEqual([
      "inst2.test",
      "inst1.test",
    ]);
    expect(namesOf(["=", "name", "inst1"])).toEqual(["inst1.test"]);
  });

  it("refuses a name that it does not know when it is asked for nothing but names", () => {
    expect(() => namesOf(["|", ["=", "name", "nosuch.test"]])).toThrow("Instance 'nosuch.test' not known");
    expect(() => namesOf(["=", "name", "nosuch.test"], "node")).toThrow(OpPrereqError);
    expect(namesOf(["&", ["=", "name", "nosuch.test"]])).toEqual([]);
  });

  it.each<[unknown, string[]]>([
    [
      ["!", ["=", "name", "inst1"]],
      ["inst2.test", "inst10.test"],
    ],
    [["&", ["=", "name", "inst1"]], ["inst1.test"]],
    [
      ["=~", "name", "^inst[12]\\."],
      ["inst1.test", "inst2.test"],
    ],
    [["=[]", "tags", "red"], ["inst1.test"]],
    [["<", "be/memory", 256], ["inst10.test"]],
    [
      [">=", "be/memory", 256],
      ["inst1.test", "inst2.test"],
    ],
    [["!=", "pnode", "node1"], ["inst2.test"]],
    [["?", "tags"], ["inst1.test"]],
    [
      ["=", "admin_up", true],
      ["inst1.test", "inst2.test", "inst10.test"],
    ],
    [["=", "status", "running"], ["inst1.test"]],
    // Node 2 does not answer: whether inst2 runs is not known, so neither condition hides it.
    [
      ["?", "oper_state"],
      ["inst1.test", "inst2.test"],
    ],
    [
      ["=", "oper_ram", 128],
      ["inst1.test", "inst2.test", "inst10.test"],
    ],
    [["!", ["?", "oper_state"]], ["inst10.test"]],
    [["|"], []],
    [["&"], ["inst1.test", "inst2.test", "inst10.test"]],
  ])("filters by %j", (filter, expected) => {
    expect(namesOf(filter)).toEqual(expected);
  });

  it.each<[unknown, RegExp]>([
    [["=", "nosuchfield", "x"], /Unknown field 'nosuchfield'/],
    [["~~", "name", "x"], /Unknown filter operator "~~"/],
    [["constructor", "name", "x"], /Unknown filter operator/],
    ["name == x", /list that begins with an operator/],
    [[], /list that begins with an operator/],
    [[["=", "name", "x"]], /list that begins with an operator/],
    [["=~", "name", "(["], /Invalid regular expression/],
    [["=~", "name", 5], /must be a text/],
    [["=", "be/memory", "many"], /holds a number and cannot be compared with "many"/],
    [["=", "be/memory", 1.5], /whole number/],
    [["=", "name", null], /whole number/],
    [["<", "admin_up", true], /ordered against a boolean/],
    [["=", "tags", "red"], /holds a list/],
    [["=[]", "name", "red"], /no list/],
    [["=~", "be/memory", "1"], /holds no text/],
    [["!", ["?", "admin_up"], ["?", "admin_up"]], /takes 1 argument, not 2/],
    [["=", "name"], /takes 2 arguments, not 1/],
    [["?", 5], /names its field by a text/],
    [JSON.parse(`${'["!",'.repeat(500)}["?","admin_up"]${"]".repeat(500)}`), /more than 64 levels/],
    [["|", ...Array.from({ length: 1001 }, () => ["?", "admin_up"])], /more than 1000 conditions/],
  ])("refuses %#", (filter, message) => {
    expect(() => namesOf(filter)).toThrow(OpPrereqError);
    expect(() => namesOf(filter)).toThrow(message);
  });

  it("does not count names that are only looked up", () => {
    const many = ["|", ...Array.from({ length: 5000 }, (_, id) => ["=", "id", id])];
    expect(namesOf(many, "job")).toHaveLength(5000);
  });

  it("marks fields that are not known, and asks for one at least", () => {
    const { fields, data } = runQuery({ what: "node", fields: ["name", "nosuch"], filter: null }, source);
    expect(fields[1]).toMatchObject({ name: "nosuch", title: "nosuch", kind: "unknown" });
    expect(data).toEqual([
      [
        [0, "node1.test"],
        [1, null],
      ],
      [
        [0, "node2.test"],
        [1, null],
      ],
    ]);
    expect(() => runQuery({ what: "node", fields: [], filter: null }, source)).toThrow(/at least one field/);
    expect(() => resourceName("bogus")).toThrow(/cluster, export/);
    expect(() => resourceName("toString")).toThrow(OpPrereqError);
  });
});

describe("jobs", () => {
  it("are found by number", () => {
    expect(namesOf(null, "job")).toEqual([2, 3, 11]);
    expect(namesOf(["=", "status", "error"], "job")).toEqual([3]);
    expect(namesOf(["<", "received_ts", 111], "job")).toEqual([2, 3]);
    expect(() => namesOf(["=", "id", "2"], "job")).toThrow(/cannot be compared/);
  });

  it("that do not exist have a row without values", () => {
    const { data } = runQuery(
      { what: "job", fields: ["id", "status", "opresult"], filter: ["|", ["=", "id", 99], ["=", "id", 2]] },
      source,
    );
    expect(data).toEqual([
      [
        [0, 99],
        [3, null],
        [3, null],
      ],
      [
        [0, 2],
        [0, "success"],
        [0, [null]],
      ],
    ]);
  });

  it("do not show secrets", () => {
    const answer = JSON.stringify(runQuery({ what: "job", fields: ["ops"], filter: null }, source));
    expect(answer).toContain("<redacted>");
    expect(answer).not.toContain("hunter2");
  });

  it("have the priority of what is left to do", () => {
    const open = [{ ...job(1).opcodes[0], status: "running", priority: 5 }, job(1).opcodes[0]];
    const other = sourceOf(view, live, { jobs: [job(1), job(2, { opcodes: open })] as never });
    const { data } = runQuery({ what: "job", fields: ["priority"], filter: null }, other);
    expect(data).toEqual([[[0, 0]], [[0, 5]]]);
  });
});

describe("prepareQuery", () => {
  const needs = (what: Parameters<typeof prepareQuery>[0]["what"], fields: string[], filter: unknown = null) =>
    prepareQuery({ what, fields, filter }).needs;

  it("knows what to fetch", () => {
    expect(needs("instance", ["name", "beparams"])).toEqual({ live: false, jobs: null, locks: false });
    expect(needs("instance", ["name", "status"]).live).toBe(true);
    expect(needs("instance", ["name"], ["?", "oper_state"]).live).toBe(true);
    expect(needs("os", ["name"]).live).toBe(true);
    expect(needs("lock", ["name"]).locks).toBe(true);
  });

  it("asks for archived jobs by id or by the field that tells", () => {
    expect(needs("job", ["id"]).jobs).toEqual({ ids: null, archived: false });
    expect(needs("job", ["id", "archived"]).jobs).toEqual({ ids: null, archived: true });
    expect(needs("job", ["id"], ["|", ["=", "id", 4], ["=", "id", 2]]).jobs).toEqual({ ids: [4, 2], archived: true });
  });
});
