/** The API's own description, as it is served. */
import { hash } from "node:crypto";
import { RESOURCES } from "@gannet/opcodes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { requireDocumented } from "./documented.ts";
import { FENCE, type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed();
});
afterAll(() => bed[Symbol.asyncDispose]());

const METHODS = RESOURCES.flatMap(({ methods }) => [...methods.values()]);

test("the document has every resource and method", async () => {
  const reply = await bed.get("/2/openapi.json");
  expect(reply.status).toBe(200);
  expect(reply.headers["content-type"]).toBe("application/json");
  const { openapi, paths } = reply.json as { openapi: string; paths: Record<string, object> };
  expect(openapi).toBe("3.1.1");
  const served = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method} ${path}`),
  );
  const declared = METHODS.map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  expect(served.sort()).toEqual(declared.sort());
});

test("the page shows every method, and its policy allows its own style and nothing else", async () => {
  const { text, headers } = await bed.get("/2/openapi");
  expect(headers["content-type"]).toBe("text/html; charset=utf-8");
  const missing = METHODS.filter(
    ({ method, path }) => !text.includes(`>${method}</span> <code>${path.replaceAll(/:(\w+)/g, "{$1}")}</code> `),
  );
  expect(missing).toEqual([]);
  const [, style = ""] = /<style>([^<]*)<\/style>/.exec(text) ?? [];
  const policy = String(headers["content-security-policy"]);
  expect(policy).toMatch(/^default-src 'none'; /);
  expect(policy).toContain(`style-src 'sha256-${hash("sha256", style, "base64")}'`);
  expect(text).not.toMatch(/<script|<link|<img|<iframe|\sstyle=|\son\w+=|javascript:/i);
  const targets = [...text.matchAll(/href="([^"]*)"/g)].map(([, target = ""]) => target);
  const ids = new Set([...text.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => `#${id}`));
  expect(targets.filter((target) => target !== "/2/openapi.json" && !ids.has(target))).toEqual([]);
});

describe.each(["/2/openapi.json", "/2/openapi"])("%s", (path) => {
  test("is not sent again to who has it", async () => {
    const { headers, text } = await bed.get(path);
    const etag = String(headers.etag);
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const again = await bed.get(path, { headers: { "If-None-Match": known } });
      expect([again.status, again.text, again.headers.etag]).toEqual([304, "", etag]);
    }
    expect((await bed.get(path, { headers: { "If-None-Match": '"other"' } })).text).toBe(text);
  });

  test("needs no credentials where reads do not", async () => {
    expect((await bed.get(path, { user: null })).status).toBe(401);
    await bed.configStore.commit(
      ({ cluster }) => [{ kind: "cluster", put: { ...cluster, rapiAnonymousReads: true } }],
      FENCE,
    );
    expect((await bed.get(path, { user: null })).status).toBe(200);
    await bed.configStore.commit(
      ({ cluster }) => [{ kind: "cluster", put: { ...cluster, rapiAnonymousReads: false } }],
      FENCE,
    );
  });
});

test.for([
  ["a key that is missing", "/2/networks?bulk=1", [{ name: "lan" }], /has no uri/],
  ["a key of another type", "/version", "2", /is not 2/],
  ["a bare value for an object", "/2/info", null, /is no object/],
] as const)("a test whose answer has %s fails", ([_label, target, json, fault]) => {
  const reply = { status: 200, headers: { "content-type": "application/json" }, text: JSON.stringify(json), json };
  expect(() => requireDocumented("GET", target, reply)).toThrow(fault);
});

test("an error whose text is not the shared one fails", () => {
  const reply = { status: 404, headers: { "content-type": "application/json" }, text: "{}", json: { code: 404 } };
  expect(() => requireDocumented("GET", "/nosuch", reply)).toThrow(/has no message/);
});
