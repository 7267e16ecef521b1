/** The client against a server that answers what a test says, over real TLS. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HooksAbort, HttpError, JobCanceled, OpExecError, OpPrereqError } from "@gannet/errors";
import { ClusterPostInit, InstanceReinstall, InstanceStartup, NodeSetParams, TagsSet } from "@gannet/opcodes";
import { createCa, type Identity, issueCertificate, loadIdentity } from "@gannet/pki";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { AnswerLost, decodeJobError, NotTrusted, RapiClient, type RapiClientOptions } from "../src/index.ts";

interface Asked {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: unknown;
}
type Answer = (asked: Asked, response: ServerResponse) => unknown;

const SERVER_NAME = "cluster.gnt.test";
let folder: string;
let identity: Identity;
let server: Server;
let answer: Answer;
let asked: Asked[];
const clients: RapiClient[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "gannet-client-"));
  identity = await newIdentity("tls");
  server = createServer(
    { cert: identity.cert, key: identity.key },
    (request, response) => void serve(request, response),
  );
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
});
afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  asked = [];
});
afterEach(() => {
  for (const client of clients.splice(0)) client[Symbol.dispose]();
});

async function newIdentity(name: string): Promise<Identity> {
  const ca = await createCa({ dir: join(folder, `${name}-ca`) });
  const dir = join(folder, name);
  await issueCertificate({ ca, name: SERVER_NAME, sans: [], usage: "rapi", dir });
  return await loadIdentity(dir);
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  const one = {
    method: request.method,
    url: request.url,
    headers: request.headers,
    body: text === "" ? undefined : JSON.parse(text),
  };
  asked.push(one);
  const value = await answer(one, response);
  if (!response.writableEnded && !response.destroyed) response.end(JSON.stringify(value));
}

function open(options: Partial<RapiClientOptions> = {}): RapiClient {
  const { port } = server.address() as AddressInfo;
  const client = new RapiClient({
    host: "127.0.0.1",
    port,
    user: "admin",
    password: "secret",
    ca: identity.ca,
    serverName: SERVER_NAME,
    ...options,
  });
  clients.push(client);
  return client;
}

const JOB = { id: 7, ops: [], summary: [], received_ts: [1, 0], start_ts: null, end_ts: null, oplog: [[]] };

describe("requests", () => {
  test("an opcode is its route's path, query and body, with credentials and a key", async () => {
    answer = () => 7;
    const id = await open().submit(
      InstanceStartup,
      { instance_name: "web1", force: true, dry_run: true, depends: [[3, ["success"]]] },
      { reason: "a b" },
    );
    expect(id).toBe(7);
    expect(asked).toMatchObject([
      {
        method: "PUT",
        url: "/2/instances/web1/startup?force=1&dry-run=1&reason=a+b",
        headers: {
          authorization: `Basic ${Buffer.from("admin:secret").toString("base64")}`,
          "content-type": "application/json",
          "idempotency-key": expect.stringMatching(/^[0-9a-f-]{36}$/),
        },
        body: { depends: [[3, ["success"]]] },
      },
    ]);
  });

  test("a token stands for user and password", async () => {
    answer = () => 2;
    await open({ token: "gnt_abc" }).get("/version");
    expect(asked[0]?.headers?.authorization).toBe("Bearer gnt_abc");
  });

  test("parameters choose among an opcode's routes", async () => {
    answer = () => 1;
    const client = open();
    await client.submit(TagsSet, { kind: "cluster", tags: ["a", "b"] });
    await client.submit(TagsSet, { kind: "node", name: "node1", tags: ["a"] });
    await client.submit(NodeSetParams, { node_name: "node1", offline: true });
    await client.submit(InstanceReinstall, { instance_name: "web1", os_type: "noop" });
    expect(asked.map(({ method, url, body }) => [method, url, body])).toEqual([
      ["PUT", "/2/tags?tag=a&tag=b", undefined],
      ["PUT", "/2/nodes/node1/tags?tag=a", undefined],
      ["POST", "/2/nodes/node1/modify", { offline: true }],
      ["POST", "/2/instances/web1/reinstall", { os: "noop" }],
    ]);
  });

  test("what the remote API cannot say is refused before anything is sent", async () => {
    await expect(open().submit(ClusterPostInit, {})).rejects.toThrow(
      new OpPrereqError("The remote API has no request for OP_CLUSTER_POST_INIT", "wrong_input"),
    );
    expect(asked).toEqual([]);
  });

  test("reads have their path, their query and the declared types", async () => {
    answer = () => [];
    const client = open();
    const rows = await client.get("/2/instances", { query: { bulk: true } });
    type Row = (typeof rows)[number];
    expectTypeOf<Row["oper_ram"]>().toEqualTypeOf<number | null>();
    const entries = await client.get("/2/instances");
    expectTypeOf(entries).toEqualTypeOf<{ id: string; name: string; uri: string }[]>();
    await client.get("/2/query/:resource", { resource: "node", query: { fields: ["name", "role"] } });
    expect(asked.map(({ url }) => url)).toEqual([
      "/2/instances?bulk=1",
      "/2/instances",
      "/2/query/node?fields=name%2Crole",
    ]);
    // @ts-expect-error a path whose parameter is missing
    await expect(client.get("/2/nodes/:node_name", {})).rejects.toThrow("/2/nodes/:node_name needs 'node_name'");
    // @ts-expect-error no such resource
    await client.get("/2/nosuch");
  });
});

describe("answers", () => {
  test("a refusal is an HttpError with its status and text", async () => {
    answer = (_asked, response) => {
      response.statusCode = 409;
      return { code: 409, message: "it runs already", explain: "Request conflict" };
    };
    const refused = open().submit(InstanceStartup, { instance_name: "web1" });
    await expect(refused).rejects.toThrow(HttpError);
    await expect(refused).rejects.toMatchObject({ status: 409, message: "it runs already" });
    expect(asked).toHaveLength(1);
  });

  test("a submission whose answer is lost is repeated with the same key; other changes are not", async () => {
    answer = (_asked, response) => (asked.length < 3 ? response.destroy() : 7);
    expect(await open().submit(InstanceStartup, { instance_name: "web1" })).toBe(7);
    expect(asked).toHaveLength(3);
    expect(new Set(asked.map(({ headers }) => headers["idempotency-key"])).size).toBe(1);
    asked = [];
    await expect(open().jobs.cancel(7)).rejects.toThrow(AnswerLost);
    expect(asked).toHaveLength(1);
  });

  test("repeating ends with its time", async () => {
    answer = (_asked, response) => response.destroy();
    await expect(open({ repeatMs: 0 }).get("/2/info")).rejects.toThrow(AnswerLost);
    expect(asked).toHaveLength(1);
  });

  test("a server that falls silent is given up", async () => {
    answer = () => new Promise(() => undefined);
    await expect(open({ repeatMs: 0, timeoutMs: 50 }).get("/2/info")).rejects.toThrow("silent for 50 ms");
  });

  test("a caller may stop waiting", async () => {
    const stop = new AbortController();
    answer = () => {
      stop.abort(new Error("enough"));
      return new Promise(() => undefined);
    };
    await expect(open().get("/2/info", {}, { signal: stop.signal })).rejects.toThrow("enough");
  });

  test("only the given authority is trusted", async () => {
    answer = () => null;
    const other = await newIdentity(randomUUID());
    await expect(open({ ca: other.ca }).get("/2")).rejects.toThrow(NotTrusted);
    await expect(open({ serverName: "other.gnt.test" }).get("/2")).rejects.toThrow(NotTrusted);
    expect(asked).toEqual([]);
  });
});

describe("jobs", () => {
  const states = (...jobs: object[]): Answer => {
    return ({ url = "" }) => {
      if (url.endsWith("/startup")) return 7;
      return url.endsWith("/wait") ? { job_info: [], log_entries: [] } : { ...JOB, ...jobs.shift() };
    };
  };

  test("are waited for until they are over, and their result is answered", async () => {
    answer = states(
      { status: "queued", opstatus: ["queued"], opresult: [null] },
      {
        status: "running",
        opstatus: ["running"],
        opresult: [null],
        oplog: [[[4, [1, 2], "message", "begun"]]],
      },
      { status: "success", opstatus: ["success"], opresult: [null] },
    );
    const result = await open().run(InstanceStartup, { instance_name: "web1" });
    expect(result).toBe(null);
    const waits = asked.filter(({ url }) => url === "/2/jobs/7/wait");
    expect(waits.map(({ body }) => body)).toEqual([
      { fields: ["status"], previous_job_info: ["queued"], previous_log_serial: null },
      { fields: ["status"], previous_job_info: ["running"], previous_log_serial: 4 },
    ]);
  });

  test.for([
    ["OpPrereqError", ["no such node", "unknown_entity"], OpPrereqError, { code: "unknown_entity" }],
    ["HooksAbort", [[["node1", "00-no", "not now"]]], HooksAbort, { failures: [["node1", "00-no", "not now"]] }],
    ["JobCanceled", [], JobCanceled, {}],
    ["StorageError", ["full"], OpExecError, { message: "StorageError: full" }],
  ] as const)("that fail throw what they failed with: %s", async ([name, args, error, detail]) => {
    answer = states({ status: "error", opstatus: ["error"], opresult: [[name, args]] });
    const failed = open().run(InstanceStartup, { instance_name: "web1" });
    await expect(failed).rejects.toThrow(error);
    await expect(failed).rejects.toMatchObject(detail);
  });

  test("that were canceled before they began say so", async () => {
    answer = states({ status: "canceled", opstatus: ["canceled"], opresult: [null] });
    await expect(open().run(InstanceStartup, { instance_name: "web1" })).rejects.toThrow(JobCanceled);
  });

  test("whose failure is in no known form still fail with it", () => {
    expect(decodeJobError("the process died")).toEqual(new OpExecError("the process died"));
    expect(decodeJobError(undefined)).toBeInstanceOf(OpExecError);
  });
});
