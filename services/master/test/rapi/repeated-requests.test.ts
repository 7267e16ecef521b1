/** `Idempotency-Key`: a client that does not know whether its job was taken asks again, and gets one job. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { submissionKeyOf } from "../../src/rapi/submission-key.ts";
import { basicAuth, type Call, FENCE, type RapiTestbed, type Reply, startRapiTestbed } from "./rapi-testbed.ts";

const STARTUP = "/2/instances/inst5.gnt.test/startup";
const JSON_TYPE = { "Content-Type": "application/json" };

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed();
});
afterAll(() => bed[Symbol.asyncDispose]());

let key: string;
beforeEach(({ task }) => {
  key = `key-of-${task.id}`;
});

const put = (path: string, { headers, ...call }: Call = {}): Promise<Reply> =>
  bed.call("PUT", path, { ...call, headers: { "Idempotency-Key": key, ...headers } });
const jobs = async () => (await bed.ledger.ids({})).length;

/** The id of the job, which the request must have. */
async function accepted(reply: Promise<Reply>): Promise<number> {
  const { status, text } = await reply;
  expect(status, text).toBe(200);
  expect(text).toMatch(/^\d+\n$/);
  return Number(text);
}

describe("a repeated request", () => {
  test("is answered the first one's job, and makes none", async () => {
    const call = { json: { startup_paused: false, depends: null } };
    const id = await accepted(put(`${STARTUP}?reason=first`, call));
    const before = await jobs();
    expect(await accepted(put(`${STARTUP}?reason=first`, call))).toBe(id);
    expect(await jobs()).toBe(before);
    key = `${key}-other`;
    expect(await accepted(put(`${STARTUP}?reason=first`, call))).toBe(id + 1);
    expect(await accepted(bed.call("PUT", STARTUP))).toBe(id + 2);
    expect(await accepted(bed.call("PUT", STARTUP))).toBe(id + 3);
  });

  test("is the same however its JSON is laid out", async () => {
    const raw = '{"osparams_private": {"a": "1", "b": "2"}, "os_name": "noop"}';
    const modify = (text: string) =>
      accepted(
        bed.call("PUT", "/2/instances/inst5.gnt.test/modify", {
          raw: text,
          headers: { ...JSON_TYPE, "Idempotency-Key": key },
        }),
      );
    const id = await modify(raw);
    expect(await modify('{"os_name":"noop","osparams_private":{"b":"2","a":"1"}}')).toBe(id);
  });

  test("is answered whatever has become of the job, and of the queue", async () => {
    const id = await accepted(put(STARTUP));
    await bed.ledger.cancel(id);
    await bed.ledger.archive(id);
    await bed.ledger.setDrained(true);
    expect(await accepted(put(STARTUP))).toBe(id);
    await bed.ledger.setDrained(false);
  });

  test("that comes many times at once is one job", async () => {
    const before = await jobs();
    const ids = await Promise.all(Array.from({ length: 60 }, () => accepted(put(STARTUP))));
    expect(new Set(ids).size).toBe(1);
    expect(await jobs()).toBe(before + 1);
  });

  test("whose first answer was lost on the way is one job", async () => {
    const before = await jobs();
    const socket = await bed.connect();
    socket.write(
      `PUT ${STARTUP} HTTP/1.1\r\nHost: x\r\nAuthorization: ${basicAuth("admin")}\r\n` +
        `Idempotency-Key: ${key}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
      () => socket.destroy(),
    );
    await vi.waitFor(async () => expect(await jobs()).toBe(before + 1), 5_000);
    const id = await accepted(put(STARTUP, { json: {} }));
    expect((await bed.ledger.ids({})).at(-1)).toBe(id);
    expect(await jobs()).toBe(before + 1);
  });

  test("that was refused the first time can be accepted the second", async () => {
    await bed.ledger.setDrained(true);
    expect((await put(STARTUP)).status).toBe(503);
    await bed.ledger.setDrained(false);
    const id = await accepted(put(STARTUP));
    expect(await bed.ledger.get(id)).toMatchObject({ status: "queued" });
  });
});

describe("another request with the key", () => {
  test.for<[what: string, method: string, path: string, call: Call]>([
    ["path", "PUT", "/2/instances/inst1.gnt.test/startup", { json: {} }],
    ["query", "PUT", `${STARTUP}?force=1`, { json: {} }],
    ["body", "PUT", STARTUP, { json: { startup_paused: true } }],
    ["opcode", "PUT", "/2/instances/inst5.gnt.test/shutdown", { json: {} }],
    ["method", "DELETE", "/2/instances/inst5.gnt.test", {}],
  ])("that differs by its %s is refused, and is no job", async ([_what, method, path, call]) => {
    await accepted(put(STARTUP, { json: {} }));
    const before = await jobs();
    const reply = await bed.call(method, path, { ...call, headers: { "Idempotency-Key": key } });
    expect(reply.json).toMatchObject({ code: 422, message: expect.stringContaining("Idempotency-Key") });
    expect(await jobs()).toBe(before);
  });

  test("by another user is a request of its own", async () => {
    const info = "/2/instances/inst5.gnt.test/info";
    const ids = await Promise.all(
      (["admin", "operator"] as const).map((user) =>
        accepted(bed.get(info, { user, headers: { "Idempotency-Key": key } })),
      ),
    );
    expect(new Set(ids).size).toBe(2);
  });
});

describe("a key", () => {
  test.for<[what: string, key: string]>([
    ["empty", ""],
    ["too long", "x".repeat(256)],
    ["two words", "a b"],
    ["not ASCII", "schl\u00fcssel"],
    ["a tab", "a\tb"],
  ])("that is %s is refused", async ([_what, malformed]) => {
    const before = await jobs();
    const reply = await bed.call("PUT", STARTUP, { headers: { "Idempotency-Key": malformed } });
    expect(reply.json).toMatchObject({ code: 400, message: expect.stringContaining("Idempotency-Key") });
    expect(await jobs()).toBe(before);
  });

  test("that is given twice is refused", async () => {
    const reply = await bed.exchange(
      `PUT ${STARTUP} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${basicAuth("admin")}\r\n` +
        "Idempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n",
    );
    expect(reply.status).toBe(400);
  });

  test.for(["x".repeat(255), '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "*"])("%s is one", async (good) => {
    const headers = { "Idempotency-Key": good };
    const id = await accepted(bed.call("PUT", STARTUP, { headers }));
    expect(await accepted(bed.call("PUT", STARTUP, { headers }))).toBe(id);
  });

  test("means nothing where no job is submitted", async () => {
    const headers = { "Idempotency-Key": "a b" };
    expect((await bed.get("/2/info", { headers })).status).toBe(200);
  });

  test("and what is asked cannot be read from what is stored", async () => {
    await accepted(
      bed.call("PUT", "/2/instances/inst5.gnt.test/modify", {
        json: { osparams_private: { password: "hunter2" } },
        headers: { "Idempotency-Key": key },
      }),
    );
    const records = await bed.redis.client.keys("gannet:jobs:submission-key:*");
    const stored = JSON.stringify([records, await bed.redis.client.mget(records)]);
    for (const secret of [key, "hunter2", "inst5"]) expect(stored).not.toContain(secret);
    // Who knows the request and guesses at its secret cannot compare without the key.
    const identity = { user: "admin", method: "PUT", target: "/x", body: { password: "hunter2" } };
    expect(submissionKeyOf("one", identity)?.digest).not.toBe(submissionKeyOf("other", identity)?.digest);
  });
});

test("the key outlives the run of its job", async () => {
  const id = await accepted(put(STARTUP));
  await bed.ledger.begin(id, 0, FENCE);
  expect(await accepted(put(STARTUP))).toBe(id);
  await bed.ledger.succeed(id, 0, null, FENCE);
  expect(await accepted(put(STARTUP))).toBe(id);
});
