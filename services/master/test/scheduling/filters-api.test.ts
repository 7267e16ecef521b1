/** `/2/filters` as clients see it; the requests and answers were recorded from a real Ganeti 3.0.2. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type RapiTestbed, startRapiTestbed } from "../rapi/rapi-testbed.ts";

let bed: RapiTestbed;
beforeEach(async () => {
  bed = await startRapiTestbed();
});
afterEach(() => bed[Symbol.asyncDispose]());

const RULE = {
  priority: 5,
  predicates: [["jobid", [">", "id", 100_000]]],
  action: "CONTINUE",
  reason: [["user", "why", 1]],
};
const UNKNOWN = "00000000-0000-0000-0000-000000000000";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

async function add(json: object): Promise<string> {
  const reply = await bed.call("POST", "/2/filters", { json });
  expect(reply.status, reply.text).toBe(200);
  return reply.json as string;
}

const filters = async () => (await bed.get("/2/filters?bulk=1")).json as { uuid: string }[];

test("a rule's life", async () => {
  expect((await bed.get("/2/filters")).json).toEqual([]);
  const uuid = await add(RULE);
  expect(uuid).toMatch(UUID);
  const row = {
    watermark: 0,
    priority: 5,
    predicates: RULE.predicates,
    action: "CONTINUE",
    reason_trail: [
      ["user", "why", 1],
      ["luxid", "", expect.any(Number)],
    ],
    uuid,
  };
  expect((await bed.get("/2/filters")).json).toEqual([{ uuid, uri: `/2/filters/${uuid}` }]);
  expect(await filters()).toEqual([row]);
  const one = await bed.get(`/2/filters/${uuid}`);
  expect(one.json).toEqual(row);
  expect(Object.keys(one.json as object)).toEqual(Object.keys(row));

  for (let id = 1; id <= 2; id += 1) await bed.call("PUT", "/2/instances/inst5.gnt.test/startup");
  const replacement = { priority: 6, predicates: [], action: ["RATE_LIMIT", 3], reason: [] };
  const replaced = await bed.call("PUT", `/2/filters/${uuid}`, { json: replacement });
  expect(replaced.json).toBe(uuid);
  expect((await bed.get(`/2/filters/${uuid}`)).json).toEqual({
    watermark: 2,
    priority: 6,
    predicates: [],
    action: ["RATE_LIMIT", 3],
    reason_trail: [["luxid", "", expect.any(Number)]],
    uuid,
  });

  const removed = await bed.call("DELETE", `/2/filters/${uuid}`, { json: {} });
  expect([removed.status, removed.text]).toEqual([200, "null\n"]);
  expect(await filters()).toEqual([]);
  // The real one answers 500.
  expect((await bed.call("DELETE", `/2/filters/${uuid}`, { json: {} })).json).toMatchObject({
    code: 404,
    message: "Not Found",
  });
  expect((await bed.get(`/2/filters/${uuid}`)).json).toMatchObject({ code: 404, message: "Not Found" });
});

test("what is left out has its default", async () => {
  const uuid = await add({ priority: 5 });
  expect((await bed.get(`/2/filters/${uuid}`)).json).toMatchObject({ priority: 5, predicates: [], action: "CONTINUE" });
  const other = await add({});
  expect((await bed.get(`/2/filters/${other}`)).json).toMatchObject({ priority: 0 });
});

test("PUT makes a rule with the UUID that the client chose", async () => {
  const uuid = "0a1b2c3d-0000-4000-8000-0123456789ab";
  expect((await bed.call("PUT", `/2/filters/${uuid}`, { json: RULE })).json).toBe(uuid);
  expect((await filters()).map((rule) => rule.uuid)).toEqual([uuid]);
});

test("lists are sorted", async () => {
  const uuids = [await add(RULE), await add(RULE), await add(RULE), await add(RULE)];
  expect((await filters()).map((rule) => rule.uuid)).toEqual(uuids.toSorted());
});

test("a job that a rule holds names it as what it waits for", async () => {
  const everything = [["jobid", [">", "id", 0]]];
  const uuid = await add({ priority: 0, predicates: everything, action: "PAUSE", reason: [] });
  const id = (await bed.call("PUT", "/2/instances/inst5.gnt.test/startup")).json;
  const blockers = async () => (await bed.get(`/2/jobs/${id}/blockers`)).json;
  expect(await blockers()).toEqual([{ filter: uuid }]);
  for (const [action, expected] of [
    [["RATE_LIMIT", 1], [{ filter: uuid }]],
    ["ACCEPT", []],
    ["CONTINUE", []],
  ]) {
    await bed.call("PUT", `/2/filters/${uuid}`, { json: { priority: 0, predicates: everything, action, reason: [] } });
    expect(await blockers()).toEqual(expected);
  }
});

describe("refused", () => {
  test.for<[label: string, change: object, told: string]>([
    ["an unknown action", { action: "BOGUS" }, "RATE_LIMIT"],
    ["a rate of no job", { action: ["RATE_LIMIT", 0] }, "action[1]"],
    ["a negative priority", { priority: -1 }, "priority"],
    ["a priority that is no number", { priority: "high" }, "priority"],
    ["an unknown predicate", { predicates: [["colour", ["==", "id", 1]]] }, "jobid, opcode, reason"],
    ["a predicate without a filter", { predicates: [["jobid"]] }, "[name, filter]"],
    ["predicates that are no list", { predicates: "jobid" }, "predicates"],
    ["a field that jobs do not have", { predicates: [["jobid", ["==", "name", 1]]] }, "'name'"],
    ["a malformed filter", { predicates: [["opcode", ["==", "OP_ID"]]] }, "Predicate 'opcode'"],
    ["a broken regular expression", { predicates: [["opcode", ["=~", "OP_ID", "("]]] }, "Predicate 'opcode'"],
    ["a reason that is none", { reason: ["because"] }, "reason"],
    ["an unknown key", { colour: "red" }, "colour"],
  ])("%s", async ([_label, change, told]) => {
    const reply = await bed.call("POST", "/2/filters", { json: { ...RULE, ...change } });
    expect(reply.json).toMatchObject({ code: 400, message: expect.stringContaining(told) });
    expect(await filters()).toEqual([]);
  });

  test.for(["nosuch", "0A1B2C3D-0000-4000-8000-0123456789AB", "0a1b2c3d00004000800000123456789ab"])(
    "the name %s",
    async (name) => {
      const reply = await bed.call("PUT", `/2/filters/${name}`, { json: RULE });
      expect(reply.json).toMatchObject({ code: 400, message: expect.stringContaining(name) });
      expect((await bed.get(`/2/filters/${name}`)).status).toBe(404);
      expect((await bed.call("DELETE", `/2/filters/${name}`)).status).toBe(404);
    },
  );

  test("changes by who may not write", async () => {
    const uuid = await add(RULE);
    for (const [method, path] of [
      ["POST", "/2/filters"],
      ["PUT", `/2/filters/${uuid}`],
      ["DELETE", `/2/filters/${uuid}`],
    ] as const)
      expect((await bed.call(method, path, { user: "operator", json: {} })).status).toBe(403);
    expect(await filters()).toHaveLength(1);
  });

  test("changes on a master that does not lead, with a reason; it shows the rules", async () => {
    const uuid = await add(RULE);
    bed.leads = false;
    for (const [method, path, json] of [
      ["POST", "/2/filters", RULE],
      ["PUT", `/2/filters/${uuid}`, RULE],
      ["DELETE", `/2/filters/${uuid}`, {}],
    ] as const)
      expect((await bed.call(method, path, { json })).json).toMatchObject({
        code: 503,
        message: expect.stringContaining("leader"),
      });
    expect((await filters()).map((rule) => rule.uuid)).toEqual([uuid]);
    expect((await bed.call("DELETE", `/2/filters/${UNKNOWN}`)).status).toBe(404);
  });

  test("changes of a leader that another has replaced", async () => {
    await bed.redis.client.incr("gannet:epoch");
    expect((await bed.call("POST", "/2/filters", { json: RULE })).status).toBe(503);
    expect(await filters()).toEqual([]);
  });
});
