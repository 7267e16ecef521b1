/** Jobs over the remote API: submitting, looking, canceling, and waiting for changes. */
import { OPCODES } from "@gannet/opcodes";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { basicAuth, FENCE, type RapiTestbed, type Reply, startRapiTestbed } from "./rapi-testbed.ts";

let bed: RapiTestbed;
beforeAll(async () => {
  const implemented = new Set([...OPCODES.keys()].filter((id) => id !== "OP_INSTANCE_MIGRATE"));
  const unavailable = ({ OP_ID: id, offline }: Readonly<Record<string, unknown>>) =>
    id === "OP_INSTANCE_SET_PARAMS" && typeof offline === "boolean" ? "offline" : undefined;
  bed = await startRapiTestbed({ implemented, unavailable });
});
afterAll(() => bed[Symbol.asyncDispose]());

const STARTUP = "/2/instances/inst5.gnt.test/startup";
const CREATE = {
  __version__: 1,
  mode: "create",
  instance_name: "new.gnt.test",
  disk_template: "diskless",
  disks: [],
  nics: [{}],
  os_type: "noop",
  pnode: "node2.gnt.test",
};

async function submit(method: string, path: string, json?: unknown): Promise<number> {
  const reply = await bed.call(method, path, json === undefined ? {} : { json });
  expect(reply.status, reply.text).toBe(200);
  expect(reply.text).toMatch(/^\d+\n$/);
  return Number(reply.text);
}

const jobOf = async (id: number) => (await bed.get(`/2/jobs/${id}`)).json as Record<string, unknown>;

async function run(id: number): Promise<void> {
  await bed.ledger.begin(id, 0, FENCE);
}

describe("submitting", () => {
  test("answers the job's bare number, and numbers grow", async () => {
    const first = await submit("PUT", STARTUP);
    const second = await submit("POST", "/2/instances", CREATE);
    expect(second).toBe(first + 1);
  });

  test("stores the validated opcode, who asked for it and why", async () => {
    const id = await submit("PUT", `${STARTUP}?force=1&reason=a%20test&dry-run=1`, { depends: null });
    expect(await jobOf(id)).toMatchObject({
      id,
      status: "queued",
      summary: ["INSTANCE_STARTUP(inst5.gnt.test)"],
      opstatus: ["queued"],
      opresult: [null],
      oplog: [[]],
      received_ts: [expect.any(Number), expect.any(Number)],
      start_ts: null,
      end_ts: null,
      ops: [
        {
          OP_ID: "OP_INSTANCE_STARTUP",
          instance_name: "inst5.gnt.test",
          force: true,
          dry_run: true,
          reason: [
            ["gnt:user", "a test", expect.any(Number)],
            ["gnt:library:rlib2:instances_name_startup", "", expect.any(Number)],
            ["gnt:opcode:instance_startup", `job=${id};index=0`, expect.any(Number)],
          ],
        },
      ],
    });
    expect((await bed.ledger.get(id))?.requester).toBe("admin");
  });

  test("of secrets shows their names only", async () => {
    const id = await submit("POST", "/2/instances", { ...CREATE, osparams_secret: { root_password: "hunter2" } });
    const reply = await bed.get(`/2/jobs/${id}`);
    expect(reply.json).toMatchObject({ ops: [{ osparams_secret: { root_password: "<redacted>" } }] });
    expect(reply.text + (await bed.get("/2/jobs?bulk=1")).text).not.toContain("hunter2");
  });

  test("one resource may make a job of several opcodes", async () => {
    const id = await submit("POST", "/2/instances/inst5.gnt.test/reinstall", { os: "noop" });
    expect(((await jobOf(id)).ops as { OP_ID: string }[]).map(({ OP_ID }) => OP_ID)).toEqual([
      "OP_INSTANCE_SHUTDOWN",
      "OP_INSTANCE_REINSTALL",
      "OP_INSTANCE_STARTUP",
    ]);
  });

  test("a reader may ask for an instance's details", async () => {
    const reply = await bed.get("/2/instances/inst5.gnt.test/info", { user: "reader" });
    expect(await jobOf(Number(reply.text))).toMatchObject({ ops: [{ OP_ID: "OP_INSTANCE_QUERY_DATA" }] });
  });

  test("an operation that is not built yet is refused before it is a job", async () => {
    const before = await bed.ledger.ids({});
    const reply = await bed.call("PUT", "/2/instances/inst5.gnt.test/migrate", { json: { mode: "live" } });
    expect(reply.json).toMatchObject({ code: 501, message: expect.stringContaining("OP_INSTANCE_MIGRATE") });
    expect(await bed.ledger.ids({})).toEqual(before);
  });

  test("a part of an operation that is not built yet is refused alike, and the rest of it is not", async () => {
    const before = await bed.ledger.ids({});
    const modify = "/2/instances/inst5.gnt.test/modify";
    const reply = await bed.call("PUT", modify, { json: { offline: true, disk_template: "plain" } });
    expect(reply.json).toMatchObject({ code: 501, message: expect.stringContaining("offline") });
    expect(await bed.ledger.ids({})).toEqual(before);
    await submit("PUT", modify, { disk_template: "plain" });
  });

  test.for([
    ["an unknown parameter", { ...CREATE, nosuch: 1 }, "nosuch"],
    ["a wrong type", { ...CREATE, nics: "many" }, "nics"],
    ["a missing parameter", { ...CREATE, instance_name: undefined }, "instance_name"],
    ["a name that is a path", { ...CREATE, instance_name: "../../etc/passwd" }, "instance_name"],
    ["a name that is an option", { ...CREATE, instance_name: "-rf" }, "instance_name"],
    ["a name with a NUL", { ...CREATE, instance_name: "a\0b" }, "instance_name"],
    ["a long name", { ...CREATE, instance_name: "a".repeat(300) }, "instance_name"],
    ["another version", { ...CREATE, __version__: 2 }, "__version__"],
  ] as const)("%s is refused by name", async ([_label, json, named]) => {
    const reply = await bed.call("POST", "/2/instances", { json });
    expect(reply.json).toMatchObject({ code: 400, message: expect.stringContaining(named) });
  });

  test("a drained queue takes nothing and says so", async () => {
    await bed.ledger.setDrained(true);
    expect((await bed.call("PUT", STARTUP)).json).toMatchObject({
      code: 503,
      message: expect.stringMatching(/drained/i),
    });
    await bed.ledger.setDrained(false);
    await submit("PUT", STARTUP);
  });
});

describe("looking", () => {
  test("the lists hold every job, plain and in bulk", async () => {
    const id = await submit("PUT", STARTUP);
    const plain = (await bed.get("/2/jobs")).json as { id: number }[];
    expect(plain.at(-1)).toEqual({ id, uri: `/2/jobs/${id}` });
    const bulk = (await bed.get("/2/jobs?bulk=1")).json as object[];
    const { oplog: _oplog, opresult: _opresult, ...row } = await jobOf(id);
    expect(bulk.at(-1)).toEqual(row);
    expect(bulk).toHaveLength(plain.length);
  });

  test("a list may begin after an id and have a limit", async () => {
    const all = (await bed.get("/2/jobs")).json as { id: number }[];
    const after = all[1]?.id ?? 0;
    const rest = all.filter(({ id }) => id > after);
    for (const [query, ids] of [
      [`after=${after}`, rest],
      [`after=${after}&limit=1`, rest.slice(0, 1)],
      ["limit=2", all.slice(0, 2)],
      ["limit=&after=", all],
      [`limit=${all.length + 1}`, all],
      ["after=999999", []],
    ] as const) {
      expect((await bed.get(`/2/jobs?${query}`)).json, query).toEqual(ids);
      const bulk = (await bed.get(`/2/jobs?bulk=1&${query}`)).json as { id: number }[];
      expect(
        bulk.map(({ id }) => id),
        query,
      ).toEqual(ids.map(({ id }) => id));
    }
  });

  test.for(["limit=0", "limit=-1", "limit=x", "after=-1", "after=1.5", "limit=99999999999999999999"])(
    "a list with %s is refused",
    async (query) => {
      const [named = ""] = query.split("=");
      for (const path of [`/2/jobs?${query}`, `/2/jobs?bulk=1&${query}`])
        expect((await bed.get(path)).json).toMatchObject({ code: 400, message: expect.stringContaining(`'${named}'`) });
    },
  );

  test.for(["0", "999999", "99999999999999999999", "abc", "-1", "1.5"])("job %s is not there", async (id) => {
    expect((await bed.get(`/2/jobs/${id}`)).json).toMatchObject({ code: 404, message: "Not Found" });
  });
});

describe("canceling", () => {
  test("a queued job is canceled; one that is over or unknown is not, which is no error", async () => {
    const id = await submit("PUT", STARTUP);
    expect((await bed.call("DELETE", `/2/jobs/${id}`)).json).toEqual([true, expect.any(String)]);
    expect(await jobOf(id)).toMatchObject({ status: "canceled", opstatus: ["canceled"] });
    for (const gone of [id, 999_999])
      expect(await bed.call("DELETE", `/2/jobs/${gone}`)).toMatchObject({
        status: 200,
        json: [false, expect.any(String)],
      });
  });
});

describe("waiting", () => {
  const FIELDS = ["id", "status", "opstatus"];
  const wait = (id: number | string, json: object): Promise<Reply> =>
    bed.call("GET", `/2/jobs/${id}/wait`, { json: { previous_job_info: null, previous_log_serial: null, ...json } });

  test("answers at once what the client does not know", async () => {
    const id = await submit("PUT", STARTUP);
    const info = [id, "queued", ["queued"]];
    expect((await wait(id, { fields: FIELDS })).json).toEqual({ job_info: info, log_entries: [] });
    expect((await wait(id, { fields: FIELDS, previous_job_info: [id, "waiting", ["waiting"]] })).json).toEqual({
      job_info: info,
      log_entries: [],
    });
  });

  test("answers as soon as a status changes, and not before", async () => {
    const id = await submit("PUT", STARTUP);
    let answered = false;
    const waiting = wait(id, { fields: FIELDS, previous_job_info: [id, "queued", ["queued"]] }).then((reply) => {
      answered = true;
      return reply;
    });
    // A change of another job wakes nobody.
    await run(await submit("PUT", STARTUP));
    expect(answered).toBe(false);
    await bed.ledger.begin(id, 0, FENCE);
    expect((await waiting).json).toEqual({ job_info: [id, "running", ["running"]], log_entries: [] });
  });

  test("answers new log entries, and only those", async () => {
    const id = await submit("PUT", STARTUP);
    await run(id);
    await bed.ledger.log(id, 0, "message", "first", FENCE);
    const known = { fields: ["status"], previous_job_info: ["running"], previous_log_serial: 1 };
    const waiting = wait(id, known);
    await bed.ledger.log(id, 0, "message", "second", FENCE);
    const entry = (serial: number, text: string) => [serial, [expect.any(Number), expect.any(Number)], "message", text];
    const news = entry(2, "second");
    expect((await waiting).json).toEqual({ job_info: ["running"], log_entries: [news] });
    const all = [entry(1, "first"), news];
    expect((await wait(id, { ...known, previous_log_serial: 0 })).json).toMatchObject({ log_entries: all });
    expect((await wait(id, { ...known, previous_log_serial: null })).json).toMatchObject({ log_entries: all });
  });

  test("answers at once for a job that is over, whatever the client knows", async () => {
    const id = await submit("PUT", STARTUP);
    await run(id);
    await bed.ledger.succeed(id, 0, "done", FENCE);
    const reply = await wait(id, { fields: ["status", "opresult"], previous_job_info: ["success", ["done"]] });
    expect(reply.json).toEqual({ job_info: ["success", ["done"]], log_entries: [] });
  });

  test("answers null when nothing changes for ten seconds", { timeout: 20_000 }, async () => {
    const id = await submit("PUT", STARTUP);
    const startedAt = performance.now();
    const reply = await wait(id, { fields: ["status"], previous_job_info: ["queued"] });
    expect(reply.text).toBe("null\n");
    expect(performance.now() - startedAt).toBeGreaterThan(9_900);
  });

  test("many wait at once, and all are told", async () => {
    const id = await submit("PUT", STARTUP);
    const all = Array.from({ length: 50 }, () => wait(id, { fields: ["status"], previous_job_info: ["queued"] }));
    await bed.ledger.cancel(id);
    for (const reply of await Promise.all(all)) expect(reply.json).toEqual({ job_info: ["canceled"], log_entries: [] });
  });

  test("a client that goes away stops waiting", async () => {
    const id = await submit("PUT", STARTUP);
    const looks = vi.spyOn(bed.ledger, "get");
    const body = JSON.stringify({ fields: ["status"], previous_job_info: ["queued"] });
    const socket = await bed.connect();
    socket.write(
      `GET /2/jobs/${id}/wait HTTP/1.1\r\nHost: x\r\nAuthorization: ${basicAuth("admin")}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await vi.waitFor(() => expect(looks).toHaveBeenCalledTimes(1));
    socket.destroy();
    let priority = 10;
    await vi.waitFor(async () => {
      looks.mockClear();
      // The server's own listener is older, and is called before this one.
      const changed = new Promise<void>((resolve) => {
        const stop = bed.ledger.onChange((change) => {
          if (change.id !== id) return;
          stop();
          resolve();
        });
      });
      priority = -priority;
      await bed.ledger.changePriority(id, priority);
      await changed;
      await new Promise((resolve) => setImmediate(resolve));
      expect(looks).not.toHaveBeenCalled();
    });
    looks.mockRestore();
  });

  test.for([
    ["no fields", {}, "fields"],
    ["fields that are no list", { fields: "status" }, "fields"],
    ["a field that jobs do not have", { fields: ["status", "nosuch"] }, "nosuch"],
    ["a wrong serial", { fields: ["status"], previous_log_serial: "x" }, "previous_log_serial"],
    ["wrong values", { fields: ["status"], previous_job_info: 5 }, "previous_job_info"],
  ] as const)("%s are refused by name", async ([_label, json, named]) => {
    const id = await submit("PUT", STARTUP);
    expect((await wait(id, json)).json).toMatchObject({ code: 400, message: expect.stringContaining(named) });
  });

  test("for an unknown job is not found", async () => {
    for (const id of [999_999, "99999999999999999999"])
      expect((await wait(id, { fields: ["status"] })).json).toMatchObject({ code: 404, message: "Not Found" });
  });

  test("without a body is refused", async () => {
    const id = await submit("PUT", STARTUP);
    expect((await bed.get(`/2/jobs/${id}/wait`)).status).toBe(400);
  });
});

describe("what a job waits for", () => {
  const blockers = async (id: number | string) => (await bed.get(`/2/jobs/${id}/blockers`)).json;
  const lock = { level: "instance", name: "inst5.gnt.test", mode: "exclusive" } as const;

  test("locks, each with the jobs that hold it or come before", async () => {
    const [holder, first, second] = [
      await submit("PUT", STARTUP),
      await submit("PUT", STARTUP),
      await submit("PUT", STARTUP),
    ];
    for (const owner of [holder, first, second]) await bed.ledger.begin(owner, 0, FENCE, { wishes: [lock] });
    const name = "instance/inst5.gnt.test";
    expect(await blockers(holder)).toEqual([]);
    expect(await blockers(first)).toEqual([{ lock: name, blocked_by: [holder] }]);
    expect(await blockers(second)).toEqual([{ lock: name, blocked_by: [holder, first] }]);
    await bed.locks.release(holder, "all", FENCE);
    expect(await blockers(first)).toEqual([]);
    expect(await blockers(second)).toEqual([{ lock: name, blocked_by: [first] }]);
    for (const owner of [first, second]) await bed.locks.release(owner, "all", FENCE);
  });

  test("the end of other jobs", async () => {
    const [over, one, other] = [
      await submit("PUT", STARTUP),
      await submit("PUT", STARTUP),
      await submit("PUT", STARTUP),
    ];
    await run(over);
    await bed.ledger.succeed(over, 0, null, FENCE);
    const id = await submit("PUT", STARTUP, {
      depends: [
        [over, []],
        [one, ["success"]],
        [-1, []],
      ],
    });
    expect(await blockers(id)).toEqual([{ lock: null, blocked_by: [one, other] }]);
    for (const dependency of [one, other]) {
      await run(dependency);
      await bed.ledger.succeed(dependency, 0, null, FENCE);
    }
    expect(await blockers(id)).toEqual([]);
  });

  test("nothing, when it is over; and there is no such list of an unknown job, or for anybody", async () => {
    const id = await submit("PUT", STARTUP);
    expect(await blockers(id)).toEqual([]);
    await bed.ledger.cancel(id);
    expect(await blockers(id)).toEqual([]);
    await bed.ledger.archive(id);
    expect(await blockers(id)).toEqual([]);
    for (const unknown of [999_999, "99999999999999999999"])
      expect(await blockers(unknown)).toMatchObject({ code: 404, message: "Not Found" });
    expect((await bed.get(`/2/jobs/${id}/blockers`, { user: "operator" })).status).toBe(200);
    expect((await bed.get(`/2/jobs/${id}/blockers`, { user: "reader" })).status).toBe(403);
  });
});

describe("what Ganeti has on its command line only", () => {
  test("a pending job's priority is changed, and one that is over keeps its own", async () => {
    const id = await submit("PUT", STARTUP);
    const change = (json: unknown) => bed.call("PUT", `/2/jobs/${id}/priority`, { json });
    expect((await change({ priority: -10 })).json).toEqual([true, expect.any(String)]);
    expect((await bed.ledger.get(id))?.opcodes.map(({ priority }) => priority)).toEqual([-10]);
    for (const wrong of [{ priority: 7 }, { priority: "high" }, {}, { priority: 0, colour: "red" }])
      expect((await change(wrong)).json).toMatchObject({ code: 400 });
    await bed.ledger.cancel(id);
    expect((await change({ priority: 10 })).json).toEqual([false, expect.any(String)]);
    expect((await bed.call("PUT", "/2/jobs/999999/priority", { json: { priority: 0 } })).status).toBe(404);
  });

  test("jobs are archived one by one, and by age, when they are over", async () => {
    const [one, other, pending] = [
      await submit("PUT", STARTUP),
      await submit("PUT", STARTUP),
      await submit("PUT", STARTUP),
    ];
    const archive = async (id: number) => (await bed.call("POST", `/2/jobs/${id}/archive`)).json;
    expect(await archive(one)).toBe(false);
    for (const id of [one, other]) await bed.ledger.cancel(id);
    expect(await archive(one)).toBe(true);
    const listed = async () => ((await bed.get("/2/jobs")).json as { id: number }[]).map(({ id }) => id);
    expect(await listed()).toEqual(expect.arrayContaining([other, pending]));
    expect(await listed()).not.toContain(one);
    const byAge = async (query: string) => (await bed.call("POST", `/2/queue/archive${query}`)).json;
    expect(await byAge("?age=3600")).toEqual({ archived: 0, left: 0 });
    expect(await byAge("")).toMatchObject({ left: 0 });
    expect(await listed()).not.toContain(other);
    expect(await listed()).toContain(pending);
    expect((await bed.call("POST", "/2/queue/archive?age=-1")).status).toBe(400);
  });

  test("the queue is drained and opened again", async () => {
    const queue = async () => (await bed.get("/2/queue")).json as { drained: boolean; jobs: Record<string, number> };
    const { jobs } = await queue();
    const set = async (drained: unknown) => await bed.call("PUT", "/2/queue", { json: { drained } });
    expect((await set(true)).json).toEqual({ drained: true, jobs });
    const refused = await bed.call("PUT", STARTUP);
    expect(refused.status).toBeGreaterThanOrEqual(400);
    expect(refused.text).toMatch(/drained/i);
    expect((await set("no")).status).toBe(400);
    expect((await set(false)).json).toEqual({ drained: false, jobs });
    await submit("PUT", STARTUP);
    expect((await queue()).jobs.queued).toBe((jobs.queued ?? 0) + 1);
  });

  test("none of it is for those who may not write", async () => {
    const id = await submit("PUT", STARTUP);
    for (const [method, path, json] of [
      ["PUT", `/2/jobs/${id}/priority`, { priority: 0 }],
      ["POST", `/2/jobs/${id}/archive`, {}],
      ["POST", "/2/queue/archive", {}],
      ["PUT", "/2/queue", { drained: true }],
    ] as const)
      expect((await bed.call(method, path, { json, user: "operator" })).status).toBe(403);
    expect((await bed.get("/2/queue", { user: "operator" })).json).toMatchObject({ drained: false });
  });
});
