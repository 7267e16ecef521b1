/** The server's own life: its certificate, its log, and its end. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { OpExecError } from "@gannet/errors";
import { createCa, issueCertificate, loadIdentity } from "@gannet/pki";
import type { Logger } from "@gannet/telemetry";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { basicAuth, type RapiTestbed, SERVER_NAME, startRapiTestbed } from "./rapi-testbed.ts";

type Line = Readonly<Record<string, unknown>>;

let bed: RapiTestbed;
let lines: Line[];
let logger: Logger;
beforeEach(async () => {
  lines = [];
  logger = pino({ level: "debug" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  bed = await startRapiTestbed({ logger });
});
afterEach(() => bed[Symbol.asyncDispose]());

const STARTUP = "/2/instances/inst5.gnt.test/startup";
const requests = () => lines.filter(({ msg }) => String(msg).startsWith("request"));

test("a new certificate serves new connections, while old ones go on", async () => {
  const folder = await mkdtemp(join(tmpdir(), "gannet-rapi-"));
  const ca = await createCa({ dir: join(folder, "ca") });
  const dir = join(folder, "tls");
  await issueCertificate({ ca, name: SERVER_NAME, sans: [], usage: "rapi", dir });
  const renewed = await loadIdentity(dir);
  await rm(folder, { recursive: true });

  const old = await bed.connect();
  bed.server.setTls(renewed);
  const { port } = bed.server.address;
  const fresh = connect({ host: "127.0.0.1", port, ca: renewed.ca, servername: SERVER_NAME });
  await once(fresh, "secureConnect");
  expect(fresh.authorized).toBe(true);
  fresh.destroy();
  await expect(bed.connect()).rejects.toThrow();
  old.write(`GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: ${basicAuth("admin")}\r\n\r\n`);
  expect(String((await once(old, "data"))[0])).toMatch(/^HTTP\/1\.1 200 /);
  old.destroy();
});

describe("the log", () => {
  test("has a line for each request: reads for debugging, writes with their job", async () => {
    await bed.get("/2/nodes?bulk=1");
    const job = (await bed.call("PUT", STARTUP)).json;
    await bed.call("PUT", STARTUP, { user: "reader" });
    await bed.get("/nosuch", { user: null });
    await bed.get("/2/instances/inst1.gnt.test/info");
    const shown = requests().map(({ level, user, method, path, status, job: id }) => [
      level,
      user,
      method,
      path,
      status,
      id,
    ]);
    expect(shown).toEqual([
      [20, "admin", "GET", "/2/nodes", 200, undefined],
      [30, "admin", "PUT", STARTUP, 200, job],
      [30, "reader", "PUT", STARTUP, 403, undefined],
      [20, undefined, "GET", "/nosuch", 404, undefined],
      [30, "admin", "GET", "/2/instances/inst1.gnt.test/info", 200, Number(job) + 1],
    ]);
    expect(requests().every(({ ms }) => typeof ms === "number")).toBe(true);
  });

  test("has no credentials, and no stack of what is only bad input", async () => {
    await bed.call("PUT", STARTUP, { json: { nosuch: "secret-in-body" } });
    await bed.get("/version", { user: null, headers: { Authorization: `${basicAuth("admin")}x` } });
    const text = JSON.stringify(lines);
    for (const secret of [basicAuth("admin"), basicAuth("admin").slice(6), "peek", "readonly", "stack"])
      expect(text).not.toContain(secret);
    expect(requests()).toHaveLength(2);
  });

  test.for([
    ["a defect", new TypeError("x is not a function of hunter2")],
    ["a failure that is no answer to a client", new OpExecError("hunter2")],
  ] as const)("has the stack of %s, of which the client learns nothing", async ([_label, error]) => {
    bed.consoleOf = () => Promise.reject(error);
    expect((await bed.get("/2/instances/inst1.gnt.test/console")).json).toEqual({
      code: 500,
      message: expect.not.stringContaining("hunter2"),
      explain: "Server got itself in trouble",
    });
    const [line] = requests();
    expect(line).toMatchObject({ level: 50, status: 500, err: { stack: expect.stringContaining("hunter2") } });
  });
});

describe("stopping", () => {
  test("answers who waits, closes idle connections and takes no new ones", async () => {
    const job = (await bed.call("PUT", STARTUP)).json;
    const idle = await bed.connect();
    const idleClosed = once(idle.resume(), "close");
    const waiting = bed.call("GET", `/2/jobs/${job}/wait`, {
      json: { fields: ["status"], previous_job_info: ["queued"] },
    });
    const looks = vi.spyOn(bed.ledger, "get");
    await vi.waitFor(() => expect(looks).toHaveBeenCalled());
    const stopped = bed.server.stop();
    expect(await waiting).toMatchObject({ status: 200, text: "null\n", headers: { connection: "close" } });
    await idleClosed;
    await stopped;
    await expect(bed.connect()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("cuts what does not end within the grace", async () => {
    const slow = await bed.connect();
    slow.write("PUT /2/tags HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n");
    const closed = once(slow.resume(), "close");
    await bed.server.stop({ graceMs: 50 });
    await closed;
  });
});
