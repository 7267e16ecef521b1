/** Clients of a busy cluster: who waits for what, waits that end with the change, and answers that are lost. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { request } from "node:https";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../e2e/conditions.ts";
import { OneMachineCluster, type RapiAnswer } from "../one-machine-cluster.ts";

const INSTANCE = "busy.gannet.test";

let cluster: OneMachineCluster;
beforeAll(async () => {
  cluster = await OneMachineCluster.start({ nodes: 1 });
  await defineSlowOs();
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** An OS whose installation takes until the file `go` is there. */
async function defineSlowOs(): Promise<void> {
  const folder = path.join(cluster.stateDir, "os/slow");
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, "ganeti_api_version"), "20\n");
  await writeFile(path.join(folder, "parameters.list"), "");
  for (const script of ["create", "import", "export", "rename", "verify"]) {
    const body = script === "create" ? `until [ -e ${cluster.stateDir}/go ]; do sleep 0.05; done` : "exit 0";
    await writeFile(path.join(folder, script), `#!/bin/sh\n${body}\n`);
    await chmod(path.join(folder, script), 0o755);
  }
}

const createOf = (instance: string, os: string) => ({
  __version__: 1,
  mode: "create",
  instance_name: instance,
  disk_template: "file",
  disks: [{ size: 8 }],
  nics: [],
  os_type: os,
  hypervisor: "fake",
  pnode: "node1.gannet.test",
});

async function submit(method: string, resource: string, body?: object): Promise<number> {
  const answer = await cluster.rapi(method, resource, body === undefined ? {} : { body });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return Number(answer.body);
}
const get = async (resource: string) => (await cluster.rapi("GET", resource)).body;
const statusOf = async (id: number) => ((await get(`/2/jobs/${id}`)) as { status: string }).status;

describe("jobs behind a slow create", () => {
  test("tell what they wait for, and their clients are told when it is over", async () => {
    const create = await submit("POST", "/2/instances", createOf(INSTANCE, "slow"));
    await eventually("the create runs", async () => (await statusOf(create)) === "running");
    const startup = await submit("PUT", `/2/instances/${INSTANCE}/startup`);
    const dependent = await submit("PUT", `/2/instances/${INSTANCE}/startup`, { depends: [[create, ["success"]]] });
    await eventually("the startup is parked", async () => (await statusOf(startup)) === "waiting");

    const lock = `instance/${INSTANCE}`;
    const blockers = (id: number) => get(`/2/jobs/${id}/blockers`);
    expect(await blockers(startup)).toEqual([{ lock, blocked_by: [create] }]);
    expect(await blockers(dependent)).toEqual([{ lock: null, blocked_by: [create] }]);
    expect(await blockers(create)).toEqual([]);
    const { data } = (await get("/2/query/lock?fields=name,mode,owner,pending,pending_since")) as {
      data: [number, unknown][][];
    };
    const values = data.map((row) => row.map(([, value]) => value));
    expect(values).toContainEqual([
      lock,
      "exclusive",
      [String(create)],
      [["exclusive", [String(startup)]]],
      [expect.any(Number)],
    ]);

    const waitFor = (id: number, status: string): Promise<RapiAnswer> =>
      cluster.rapi("GET", `/2/jobs/${id}/wait`, {
        body: { fields: ["status"], previous_job_info: [status], previous_log_serial: 1_000 },
      });
    const waits = Array.from({ length: 40 }, () => waitFor(create, "running"));
    const parked = [waitFor(startup, "waiting"), waitFor(dependent, "queued")];
    await writeFile(path.join(cluster.stateDir, "go"), "");
    for (const { body } of await Promise.all(waits)) expect(body).toEqual({ job_info: ["success"], log_entries: [] });
    for (const { body } of await Promise.all(parked)) expect(body).toMatchObject({ job_info: [expect.any(String)] });
    for (const id of [startup, dependent]) expect((await cluster.finished(id)).status).toBe("success");
    for (const id of [create, startup, dependent]) expect(await blockers(id)).toEqual([]);
    const bulk = (await get("/2/jobs?bulk=1")) as { id: number; status: string }[];
    expect(bulk.filter(({ id }) => id >= create).map(({ status }) => status)).toEqual([
      "success",
      "success",
      "success",
    ]);
  });
});

describe("a client that repeats a request with its Idempotency-Key", () => {
  const shutdown = `/2/instances/${INSTANCE}/shutdown`;
  const jobs = async () => (await get("/2/jobs")) as { id: number }[];

  /** Send a request and hang up without waiting for the answer. */
  function sendInVain(resource: string, key: string): Promise<void> {
    return new Promise((resolve) => {
      const sending = request({
        host: "127.0.0.1",
        port: cluster.port,
        method: "PUT",
        path: resource,
        agent: false,
        rejectUnauthorized: false,
        auth: `${cluster.user}:${cluster.password}`,
        headers: { "idempotency-key": key },
      });
      sending.on("error", () => resolve());
      sending.on("close", () => resolve());
      sending.on("finish", () => sending.destroy());
      sending.end();
    });
  }

  /** Repeat it until there is an answer. */
  async function sendUntilAnswered(resource: string, key: string): Promise<number> {
    return await eventually("the master answers", async () => {
      const { status, body } = await cluster.rapi("PUT", resource, { headers: { "idempotency-key": key } });
      expect([200, 503]).toContain(status);
      return status === 200 && Number(body);
    });
  }

  test("has one job, when connections are cut", async () => {
    const before = (await jobs()).length;
    for (let round = 0; round < 10; round++) {
      for (let attempt = 0; attempt < 3; attempt++) await sendInVain(shutdown, `cut-${round}`);
      const id = await sendUntilAnswered(shutdown, `cut-${round}`);
      expect(await sendUntilAnswered(shutdown, `cut-${round}`)).toBe(id);
    }
    expect(await jobs()).toHaveLength(before + 10);
  });

  test("has one job, when the master is killed", async () => {
    const before = (await jobs()).length;
    const ids: number[] = [];
    for (const [round, pauseMs] of [0, 1, 3, 10].entries()) {
      const key = `killed-${round}`;
      const sending = [
        sendInVain(shutdown, key),
        cluster.rapi("PUT", shutdown, { headers: { "idempotency-key": key } }),
      ];
      for (const each of sending) each.catch(() => undefined);
      await delay(pauseMs);
      const pid = await cluster.pid("master");
      process.kill(pid, "SIGKILL");
      await Promise.allSettled(sending);
      const id = await sendUntilAnswered(shutdown, key);
      expect(await sendUntilAnswered(shutdown, key)).toBe(id);
      ids.push(id);
    }
    expect(await jobs()).toHaveLength(before + ids.length);
    // One that was running when its leader died ends as error.
    for (const id of ids) expect(["success", "error"]).toContain((await cluster.finished(id)).status);
  });
});
