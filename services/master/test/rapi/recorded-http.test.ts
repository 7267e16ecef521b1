/**
 * Requests that a real Ganeti 3.0.2 was sent, sent to this server byte by byte: the same status, and the same
 * message where clients compare it. Where a row says `ours`, Gannet answers otherwise on purpose, and `why`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { basicAuth, type RapiTestbed, type Reply, startRapiTestbed } from "./rapi-testbed.ts";

interface Recorded {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  /** A user of the test bed, or a whole Authorization header. */
  readonly auth: string | null;
  readonly type?: string;
  readonly body?: string;
  readonly version?: string;
  readonly status: number;
  readonly message?: string;
  readonly ours?: number;
  readonly why?: string;
}

const RECORDED: readonly Recorded[] = readFileSync(join(import.meta.dirname, "fixtures/recorded-http.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

const EXPLAIN: Readonly<Record<number, string>> = {
  401: "No permission -- see authorization schemes",
  404: "Nothing matches the given URI",
  415: "Entity body in unsupported format",
};

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed();
});
afterAll(() => bed[Symbol.asyncDispose]());

test.for(RECORDED)("$name", async (recorded) => {
  const reply = await bed.exchange(bytesOf(recorded));
  const status = recorded.ours ?? recorded.status;
  expect(reply.status).toBe(status);
  if (status === 200) return expectSuccess(reply);
  if (recorded.method !== "HEAD") {
    expect(reply.json).toEqual({
      code: status,
      message: recorded.message ?? expect.any(String),
      explain: EXPLAIN[status] ?? expect.any(String),
    });
    expect(reply.text.endsWith("}\n")).toBe(true);
  }
  expect(reply.headers["content-type"]).toBe("application/json");
  expect(reply.headers["www-authenticate"]).toBe(status === 401 ? 'Basic realm="Ganeti Remote API"' : undefined);
});

function expectSuccess(reply: Reply): void {
  expect(reply.json).toBeDefined();
  expect(reply.text.endsWith("\n")).toBe(true);
  expect(reply.headers["content-type"]).toBe("application/json");
}

function bytesOf({ method, path, auth, type, body, version = "HTTP/1.1" }: Recorded): string {
  const known = auth === "admin" || auth === "reader" ? basicAuth(auth) : auth;
  const head = [
    `${method} ${path} ${version}`.trimEnd(),
    "Host: cluster.gnt.test",
    "Connection: close",
    ...(known === null ? [] : [`Authorization: ${known}`]),
    ...(type === undefined ? [] : [`Content-Type: ${type}`]),
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
  ];
  return `${head.join("\r\n")}\r\n\r\n${body ?? ""}`;
}
