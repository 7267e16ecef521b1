/** Thousands of requests that are nearly right: none is answered by a server error, none breaks the server. */
import { RESOURCES } from "@gannet/opcodes";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { basicAuth, type RapiTestbed, type Reply, startRapiTestbed } from "./rapi-testbed.ts";

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed();
  bed.consoleOf = async () => ({ kind: "msg", message: "none", command: [], port: 0, display: 0 });
});
afterAll(() => bed[Symbol.asyncDispose]());

/** What stands for "not now" and "not built": anything else from 500 on is a defect. */
const ALLOWED: ReadonlySet<number> = new Set([501, 503, 505]);

const METHODS = RESOURCES.flatMap(({ methods }) => [...methods.values()]);
const PARAMETERS = [
  ...new Set(METHODS.flatMap((method) => (method.kind === "job" ? Object.keys(method.opcode.params) : ["fields"]))),
];

const awkward = fc.constantFrom(
  "..",
  ".",
  "-rf",
  "inst1.gnt.test",
  "inst1",
  "node1",
  "default",
  "1",
  "0",
  "-1",
  "999999999999999999999999",
  "%00",
  "%2e%2e%2f",
  "a%20b",
  "__proto__",
  "constructor",
  "x".repeat(300),
);
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, 1e308, "", "x", "128", "1g", "a\0b", "\ud800", "default"),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom(...PARAMETERS, "__proto__", "constructor", "OP_ID", "depends", "reason"),
      tie("value"),
      {
        maxKeys: 5,
      },
    ),
  ),
})).value;

const CREATE = {
  __version__: 1,
  mode: "create",
  instance_name: "new.gnt.test",
  disk_template: "file",
  disks: [{ size: "1g" }],
  nics: [{}],
  os_type: "noop",
  pnode: "node2",
};
/** A valid body with one of its parameters replaced. */
const create = fc
  .tuple(fc.constantFrom(...Object.keys(CREATE), ...PARAMETERS), json)
  .map(([name, value]) => JSON.stringify({ ...CREATE, [name]: value }));

const body = fc.oneof(
  { weight: 3, arbitrary: fc.constant("") },
  { weight: 2, arbitrary: create },
  { weight: 3, arbitrary: json.map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: fc.string({ maxLength: 50 }) },
);
const query = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        "bulk",
        "lock",
        "force",
        "dry-run",
        "reason",
        "tag",
        "fields",
        "mode",
        "type",
        "os",
        "static",
        "disks",
      ),
      fc.constantFrom("", "0", "1", "-1", "x", "1,2", "%zz", "%ff", "name,status", "hard", "a+b", "9".repeat(30)),
    ),
    { maxLength: 4 },
  )
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));

function seldom<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}

interface Sketch {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly string[];
  readonly body: string;
}

const request: fc.Arbitrary<Sketch> = fc
  .record({
    resource: fc.constantFrom(...METHODS),
    otherMethod: seldom(fc.constantFrom("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW", "get")),
    name: fc.oneof(fc.constantFrom("inst1", "node1", "default", "1"), awkward),
    suffix: seldom(fc.constantFrom("/", "//", "/..", "#x", "%")),
    query,
    body,
    type: fc.constantFrom("application/json", "application/json", "application/json", "text/plain", ""),
  })
  .map(({ resource, otherMethod, name, suffix, query: search, body: text, type }) => ({
    method: otherMethod ?? resource.method,
    target: resource.path.replaceAll(/:\w+/g, name) + (suffix ?? "") + (search === "" ? "" : `?${search}`),
    headers: type === "" ? [] : [`Content-Type: ${type}`],
    body: text,
  }));

test("nearly right requests", { timeout: 120_000 }, async () => {
  const statuses = new Map<number, number>();
  // A wait for a job that has not ended would rightly wait.
  const quick = request.filter(({ target }) => !/\/jobs\/\d+\/wait/.test(target));
  await fc.assert(
    fc.asyncProperty(fc.array(quick, { minLength: 20, maxLength: 20 }), async (sketches) => {
      const replies = await Promise.all(sketches.map((sketch) => bed.exchange(bytesOf(sketch))));
      for (const [i, reply] of replies.entries()) {
        statuses.set(reply.status, (statuses.get(reply.status) ?? 0) + 1);
        expectSane(reply, sketches[i]);
      }
    }),
    { numRuns: 150 },
  );
  // Of three thousand, some of every kind: the requests are neither all nonsense nor all right.
  for (const status of [200, 400, 404, 415, 501]) expect(statuses.get(status) ?? 0, String(status)).toBeGreaterThan(20);
  expect((await bed.get("/2/info")).status).toBe(200);
});

function expectSane(reply: Reply, sketch: Sketch | undefined): void {
  const shown = `${JSON.stringify(sketch)} was answered ${reply.status} ${reply.text}`;
  expect(reply.status < 500 || ALLOWED.has(reply.status), shown).toBe(true);
  if (sketch?.method === "HEAD" || reply.headers["content-type"]?.toString().startsWith("text/html")) return;
  expect(reply.json, shown).toBeDefined();
  if (reply.status !== 200) expect(reply.json, shown).toMatchObject({ code: reply.status });
}

function bytesOf({ method, target, headers, body: text }: Sketch): string {
  const head = [
    `${method} ${target} HTTP/1.1`,
    "Host: x",
    "Connection: close",
    `Authorization: ${basicAuth("admin")}`,
    ...headers,
    ...(text === "" ? [] : [`Content-Length: ${Buffer.byteLength(text)}`]),
  ];
  return `${head.join("\r\n")}\r\n\r\n${text}`;
}
