/** `/2/query`: what a real Ganeti 3.0.2 was asked, asked of this server; and what ours has to say of a small cluster. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ConfigChange } from "@gannet/config-store";
import type { FilterRule } from "@gannet/objects";
import { RESOURCES } from "@gannet/query";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { instanceRow, NODE1, NODE2, NODE10, uuidOf } from "./cluster-fixture.ts";
import { delayJob } from "./ledger-testbed.ts";
import { FENCE, type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

interface Recorded {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly status: number;
  readonly fields?: readonly (readonly [name: string, title: string, kind: string])[];
  readonly ours?: number;
  readonly why?: string;
  /** Fields that only we have. */
  readonly more?: readonly string[];
}

interface Answer {
  readonly fields: readonly { readonly name: string; readonly title: string; readonly kind: string }[];
  readonly data: readonly (readonly (readonly [status: number, value: unknown])[])[];
}

const RECORDED: readonly Recorded[] = readFileSync(join(import.meta.dirname, "fixtures/recorded-query.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

const INST2 = "inst2.gnt.test";
const FILTER: FilterRule = {
  uuid: uuidOf("filter"),
  watermark: 3,
  priority: 5,
  predicates: [],
  action: "PAUSE",
  reasonTrail: [],
  ctime: 0,
  mtime: 0,
  serialNo: 0,
};

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed();
  const changes: readonly ConfigChange[] = [
    { kind: "instance", put: instanceRow(INST2, { adminState: "down", tags: ["owner:bob", "red"] }) },
    { kind: "filter", put: FILTER },
  ];
  await bed.configStore.commit(() => changes, FENCE);
  await bed.ledger.submit([delayJob()]);
});
afterAll(() => bed[Symbol.asyncDispose]());

async function query(what: string, json: object): Promise<Answer> {
  const reply = await bed.call("PUT", `/2/query/${what}`, { json });
  expect(reply.status, reply.text).toBe(200);
  return reply.json as Answer;
}
const rowsOf = async (what: string, fields: readonly string[], qfilter: unknown = null) =>
  (await query(what, { fields, qfilter })).data;
/** Values only; undefined for a cell that has none. */
const valuesOf = async (what: string, fields: readonly string[], qfilter: unknown = null) =>
  (await rowsOf(what, fields, qfilter)).map((row) => row.map(([status, value]) => (status === 0 ? value : undefined)));

describe("recorded", () => {
  test.for(RECORDED)("$name", async ({ method, path, body, status, ours, fields = [], more = [] }) => {
    const reply = await bed.call(method, path, body === undefined ? {} : { json: body });
    expect(reply.status, reply.text).toBe(ours ?? status);
    if (reply.status !== 200) {
      expect(reply.json).toMatchObject({ code: reply.status, message: expect.stringMatching(/\S/) });
      return;
    }
    const answer = reply.json as Partial<Answer>;
    for (const field of answer.fields ?? []) expect(field).toMatchObject({ doc: expect.stringMatching(/\S/) });
    if (status === 200) {
      const shared = answer.fields?.filter(({ name }) => !more.includes(name));
      expect(shared?.map(({ name, title, kind }) => [name, title, kind])).toEqual(fields);
    }
    expect(Object.keys(answer).sort()).toEqual(path.includes("/fields") ? ["fields"] : ["data", "fields"]);
    for (const row of answer.data ?? []) {
      expect(row).toHaveLength(answer.fields?.length ?? 0);
      for (const cell of row) expect(cell).toEqual([expect.any(Number), cell[0] === 0 ? cell[1] : null]);
    }
  });
});

describe("every resource", () => {
  test.for(Object.keys(RESOURCES))("%s answers all its fields, by GET and by PUT", async (what) => {
    const { fields } = (await bed.get(`/2/query/${what}/fields`)).json as Answer;
    const names = fields.map(({ name }) => name);
    expect(names.length).toBeGreaterThan(1);
    const answer = await query(what, { fields: names });
    expect(answer.fields).toEqual(fields);
    const { href } = new URL(`/2/query/${what}?fields=${names.slice(0, 30).join(",")}`, "https://x");
    const got = (await bed.get(href.slice("https://x".length))).json as Answer;
    expect(got.data).toEqual(answer.data.map((row) => row.slice(0, 30)));
  });

  test("is refused by its name when there is none", async () => {
    for (const path of ["/2/query/bogus?fields=name", "/2/query/bogus/fields", "/2/query/constructor/fields"])
      expect((await bed.get(path)).json).toMatchObject({
        code: 400,
        message: expect.stringMatching(/cluster, export, extstorage, filter, group/),
      });
  });

  test("needs fields; the body's go before the query's", async () => {
    const ask = (path: string, json: object) => bed.call("PUT", path, { json });
    for (const reply of [
      await bed.get("/2/query/node"),
      await ask("/2/query/node", {}),
      await bed.call("PUT", "/2/query/node"),
    ])
      expect(reply.json).toMatchObject({ code: 400, message: "Missing the required 'fields' parameter" });
    expect((await ask("/2/query/node", { fields: [] })).status).toBe(400);
    expect((await ask("/2/query/node?fields=name", {})).json).toMatchObject({ fields: [{ name: "name" }] });
    expect((await ask("/2/query/node?fields=name", { fields: ["role"] })).json).toMatchObject({
      fields: [{ name: "role" }],
    });
  });
});

describe("the cluster", () => {
  test("exports, as the nodes that answer tell", async () => {
    const rows = await rowsOf("export", ["node", "export"]);
    expect(rows).toContainEqual([
      [0, NODE1],
      [0, "inst1.gnt.test"],
    ]);
    expect(rows).toContainEqual([
      [0, NODE2],
      [2, null],
    ]);
  });

  test("instances, with what the configuration and the nodes say", async () => {
    const fields = ["name", "status", "pnode", "be/memory", "tags", "oper_ram", "console"];
    expect(await rowsOf("instance", fields)).toEqual([
      [
        [0, "inst1.gnt.test"],
        [0, "running"],
        [0, NODE2],
        [0, 128],
        [0, ["zone:a", "blue"]],
        [0, 128],
        [3, null],
      ],
      [
        [0, INST2],
        [0, "ADMIN_down"],
        [0, NODE2],
        [0, 128],
        [0, ["owner:bob", "red"]],
        [3, null],
        [3, null],
      ],
      [
        [0, "inst5.gnt.test"],
        [0, "ADMIN_down"],
        [0, NODE2],
        [0, 128],
        [0, []],
        [3, null],
        [3, null],
      ],
    ]);
  });

  test.for<[filter: unknown, names: string[]]>([
    [["=[]", "tags", "red"], ["inst2"]],
    [["&", ["=", "pnode", "node2"], ["!", ["=~", "name", "^inst[12]\\."]]], ["inst5"]],
    [["?", "oper_state"], ["inst1"]],
    [
      ["|", ["=", "name", "inst5"], ["==", "name", "inst1"]],
      ["inst5", "inst1"],
    ],
    [["<", "be/memory", 128], []],
  ])("instances that pass %j", async ([filter, names]) => {
    expect((await valuesOf("instance", ["name"], filter)).map(([name]) => String(name).split(".")[0])).toEqual(names);
  });

  test("nodes that are offline have no live values, and say why", async () => {
    expect(await rowsOf("node", ["name", "role", "mfree"])).toEqual([
      [
        [0, NODE1],
        [0, "M"],
        [0, 20_000],
      ],
      [
        [0, NODE2],
        [0, "C"],
        [0, 20_000],
      ],
      [
        [0, NODE10],
        [0, "O"],
        [4, null],
      ],
    ]);
  });

  test("OSes, filters and the cluster itself", async () => {
    expect(await valuesOf("os", ["name", "valid", "variants"])).toEqual([
      ["broken", false, []],
      ["debian", true, ["bookworm", "trixie"]],
      ["noop", true, []],
    ]);
    expect(await valuesOf("filter", ["uuid", "priority", "action"])).toEqual([[FILTER.uuid, 5, "PAUSE"]]);
    const cluster = () => valuesOf("cluster", ["name", "master_node", "drain_flag", "watcher_pause", "architecture"]);
    const architecture = ["64bits", expect.any(String)];
    expect(await cluster()).toEqual([["cluster.gnt.test", NODE1, false, undefined, architecture]]);
    await bed.ledger.setDrained(true);
    expect(await cluster()).toEqual([["cluster.gnt.test", NODE1, true, undefined, architecture]]);
    await bed.ledger.setDrained(false);
  });
});

describe("jobs", () => {
  test("are fetched only for queries about jobs, and only those asked for", async () => {
    const read = vi.spyOn(bed.ledger, "getMany");
    const list = vi.spyOn(bed.ledger, "ids");
    await query("instance", { fields: ["name"] });
    await query("lock", { fields: ["name"] });
    expect(read).not.toHaveBeenCalled();
    await query("job", { fields: ["id", "status"], qfilter: ["|", ["=", "id", 1], ["=", "id", 99]] });
    expect(read.mock.calls).toEqual([[[1, 99]]]);
    expect(list).not.toHaveBeenCalled();
    read.mockRestore();
    list.mockRestore();
  });

  test("by id: also archived ones, and rows without values for those that are not there", async () => {
    const [id = 0] = await bed.ledger.submit([delayJob()]);
    await bed.ledger.cancel(id);
    await bed.ledger.archive(id);
    const filter = ["|", ["=", "id", 1e15], ["=", "id", id], ["=", "id", -1]];
    expect(await rowsOf("job", ["id", "status", "archived"], filter)).toEqual([
      [
        [0, 1e15],
        [3, null],
        [3, null],
      ],
      [
        [0, id],
        [0, "canceled"],
        [0, true],
      ],
      [
        [0, -1],
        [3, null],
        [3, null],
      ],
    ]);
    expect(await valuesOf("job", ["id"])).not.toContainEqual([id]);
    expect(await valuesOf("job", ["id", "archived"], ["?", "archived"])).toEqual([[id, true]]);
    expect((await valuesOf("job", ["id", "archived"])).map(([each]) => each)).toEqual([
      ...(await bed.ledger.ids({})).filter((each) => each < id),
      id,
    ]);
  });

  test("by filter, page by page, in their order", async () => {
    const ids = await bed.ledger.submit(
      Array.from({ length: 1_203 }, (_, n) => delayJob({ priority: n % 2 ? 0 : 10 })),
    );
    expect(await valuesOf("job", ["id"], ["&", [">=", "id", ids[0]], ["=", "priority", 10]])).toEqual(
      ids.filter((_, n) => n % 2 === 0).map((id) => [id]),
    );
    expect(await query("job", { fields: ["id", "nosuch"], qfilter: ["=", "status", "error"] })).toEqual({
      fields: [expect.objectContaining({ name: "id" }), expect.objectContaining({ name: "nosuch", kind: "unknown" })],
      data: [],
    });
    await Promise.all(ids.map((id) => bed.ledger.cancel(id)));
    await bed.ledger.autoArchive(-1, 10_000);
  });

  test("too many by id are refused", async () => {
    const qfilter = ["|", ...Array.from({ length: 50_001 }, (_, id) => ["=", "id", id])];
    const reply = await bed.call("PUT", "/2/query/job", { json: { fields: ["id"], qfilter } });
    expect(reply.json).toMatchObject({ code: 400, message: expect.stringContaining("50000") });
  });
});

test("locks: who holds them, who waits for them, and since when", async () => {
  const node = { level: "node", name: uuidOf(NODE1) } as const;
  const asked = Date.now() / 1000;
  await bed.locks.request({ owner: 7, priority: 0, wishes: [{ ...node, mode: "shared" }] }, FENCE);
  await bed.locks.request({ owner: 8, priority: 0, wishes: [{ ...node, mode: "shared" }] }, FENCE);
  await bed.locks.request({ owner: 9, priority: 0, wishes: [{ ...node, mode: "exclusive" }] }, FENCE);
  const fields = ["name", "mode", "owner", "pending", "pending_since"];
  const rows = await valuesOf("lock", fields);
  const since = expect.toSatisfy((seconds: number) => seconds >= asked && seconds <= Date.now() / 1000);
  expect(rows).toEqual([[`node/${node.name}`, "shared", ["7", "8"], [["exclusive", ["9"]]], [since]]]);
  for (const owner of [7, 8, 9]) await bed.locks.release(owner, "all", FENCE);
  expect(await rowsOf("lock", fields)).toEqual([]);
});
