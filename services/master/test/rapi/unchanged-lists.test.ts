/** Bulk lists that a client has already are answered 304, without being built (RFC 9110, section 13.1.2). */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RowCache } from "../../src/rapi/row-cache.ts";
import { guest, NODE2, uuidOf } from "./cluster-fixture.ts";
import { type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed();
});
afterAll(() => bed[Symbol.asyncDispose]());

const LISTS = ["/2/instances?bulk=1", "/2/nodes?bulk=1", "/2/groups?bulk=1", "/2/networks?bulk=1"];
const asked = (list: string, etag: string) => bed.get(list, { headers: { "If-None-Match": etag } });

async function etagOf(list: string): Promise<string> {
  const { status, headers } = await bed.get(list);
  expect(status).toBe(200);
  expect(headers.etag).toMatch(/^"[^"]+"$/);
  return String(headers.etag);
}

/** What every list shows, as a change of a group's policy does. */
async function changeGroup(alloc: "last_resort" | "preferred"): Promise<void> {
  await bed.configStore.commit(
    (view) => [...view.groups.values()].map((row) => ({ kind: "nodegroup", put: { ...row, allocPolicy: alloc } })),
    { epoch: 1 },
  );
}

describe.each(LISTS)("%s", (list) => {
  test("is not sent again to who has it", async () => {
    const etag = await etagOf(list);
    const { status, text, headers } = await asked(list, etag);
    expect([status, text, headers.etag]).toEqual([304, "", etag]);
    expect((await asked(list, '"another"')).status).toBe(200);
  });

  test("is sent again once something in it has changed", async () => {
    const etag = await etagOf(list);
    await changeGroup("last_resort");
    const changed = await asked(list, etag);
    expect(changed.status).toBe(200);
    expect(changed.headers.etag).not.toBe(etag);
    await changeGroup("preferred");
    expect((await asked(list, etag)).status, "the same again is another version").toBe(200);
  });
});

test("what a node tells changes the lists that show it, and no others", async () => {
  const [instances = "", , groups = ""] = LISTS;
  const [seen, unseen] = [await etagOf(instances), await etagOf(groups)];
  bed.live.noteInstance(uuidOf(NODE2), guest("inst1.gnt.test", { memoryMib: 96 }));
  expect((await asked(instances, seen)).status).toBe(200);
  expect((await asked(groups, unseen)).status).toBe(304);
});

test("the plain list and single objects have no version", async () => {
  expect((await bed.get("/2/instances")).headers.etag).toBeUndefined();
  expect((await bed.get("/2/instances/inst1.gnt.test")).headers.etag).toBeUndefined();
});

test("a version is known without a row being built", () => {
  const built: string[] = [];
  const rows = new RowCache<string>({
    order: () => [{ key: "a", name: "a" }],
    row: (key) => {
      built.push(key);
      return { key };
    },
    entry: (name) => ({ name }),
  });
  const { etag } = rows.bulk();
  rows.invalidate(["a"]);
  expect(rows.bulk().etag).not.toBe(etag);
  expect(built).toEqual([]);
  expect(rows.bulk().body.toString()).toBe('[{"key":"a"}]\n');
  expect(built).toEqual(["a"]);
});
