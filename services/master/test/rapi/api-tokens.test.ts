/** API tokens: made, used, limited, revoked. */
import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Call, type RapiTestbed, startRapiTestbed, USERS } from "./rapi-testbed.ts";

let bed: RapiTestbed;
let nowMs = Date.now();
beforeAll(async () => {
  bed = await startRapiTestbed({ users: `${USERS}root {cleartext}toor write,root\n`, clock: () => nowMs });
});
afterAll(() => bed[Symbol.asyncDispose]());

interface Made {
  readonly id: string;
  readonly token: string;
}

async function make(json: object, call: Call = {}): Promise<Made> {
  const reply = await bed.call("POST", "/2/tokens", { ...call, json: { name: "test", ...json } });
  expect(reply.status, reply.text).toBe(200);
  return reply.json as Made;
}
const bearer = (token: string): Call => ({ user: null, headers: { Authorization: `Bearer ${token}` } });
const basic = (credentials: string): Call => ({
  user: null,
  headers: { Authorization: `Basic ${Buffer.from(credentials).toString("base64")}` },
});
const statusOf = async (token: string, method: string, path: string, call: Call = {}) =>
  (await bed.call(method, path, { ...call, ...bearer(token) })).status;

test("the secret is told once, and stored nowhere", async () => {
  const { id, token } = await make({ rights: { instances: "read" }, expires_in: 3600 });
  expect(token).toMatch(new RegExp(`^gnt_${id}_`));
  const { text, json } = await bed.get("/2/tokens");
  expect(json).toContainEqual({
    ...{ id, name: "test", owner: "admin", rights: { instances: "read" }, root: false, last_used: null },
    ...{ ctime: nowMs / 1000, expires: Math.floor(nowMs / 1000) + 3600 },
  });
  const secret = token.slice(`gnt_${id}_`.length);
  const stored = JSON.stringify(await bed.redis.client.hgetall("gannet:config:token"));
  expect(stored).toContain(id);
  for (const place of [text, stored]) expect(place).not.toContain(secret);
});

describe("rights", () => {
  test.for([
    [{ instances: "read" }, "GET", "/2/instances", 200],
    [{ instances: "read" }, "GET", "/2/query/instance?fields=name", 200],
    [{ instances: "read" }, "PUT", "/2/instances/inst1.gnt.test/shutdown", 403],
    [{ instances: "read" }, "GET", "/2/nodes", 403],
    [{ instances: "read" }, "GET", "/2/query/node?fields=name", 403],
    [{ instances: "read" }, "GET", "/2/query/constructor?fields=name", 403],
    [{ instances: "read" }, "GET", "/2/jobs", 403],
    [{ instances: "read" }, "GET", "/2/features", 200],
    [{ instances: "write" }, "PUT", "/2/instances/inst1.gnt.test/shutdown", 200],
    [{ instances: "write" }, "PUT", "/2/modify", 403],
    [{ instances: "write" }, "POST", "/2/nodes/node1.gnt.test/powercycle", 403],
    [{ jobs: "read" }, "DELETE", "/2/jobs/999", 403],
    [{ jobs: "write" }, "DELETE", "/2/jobs/999", 200],
    [{ all: "read" }, "GET", "/2/nodes", 200],
    [{ all: "read", nodes: "write" }, "GET", "/2/info", 200],
    [{ all: "write" }, "PUT", "/2/tags?tag=a", 200],
    [{ instances: "write" }, "POST", "/2/opcodes/OP_CLUSTER_REDIST_CONF", 403],
    [{ cluster: "write" }, "POST", "/2/opcodes/OP_INSTANCE_REMOVE", 403],
    [{ all: "write" }, "GET", "/2/tokens", 403],
    [{ all: "write" }, "POST", "/2/tokens", 403],
  ] as const)("%j: %s %s is %i", async ([rights, method, path, status]) => {
    const { token } = await make({ rights });
    expect(await statusOf(token, method, path)).toBe(status);
  });

  test("what is lacking is told", async () => {
    const { token } = await make({ rights: { instances: "read" } });
    const { json } = await bed.call("PUT", "/2/instances/inst1.gnt.test/shutdown", bearer(token));
    expect(json).toMatchObject({ code: 403, message: "This API token may not write instances" });
  });

  test("a wait for a job needs no more than reading jobs", async () => {
    const { token } = await make({ rights: { jobs: "read" } });
    expect(await statusOf(token, "GET", "/2/jobs/999/wait", { json: { fields: ["status"] } })).toBe(404);
  });

  test("a maker gives no more than he has", async () => {
    const refused = async (json: object, call: Call) =>
      (await bed.call("POST", "/2/tokens", { ...call, json: { name: "more", ...json } })).json;
    expect(await refused({ rights: { instances: "write" } }, { user: "operator" })).toMatchObject({ code: 403 });
    expect(await refused({ rights: { instances: "write" }, root: true }, { user: "admin" })).toMatchObject({
      code: 403,
      message: expect.stringContaining("root"),
    });
    const { token } = await make({ rights: { all: "read" } }, { user: "operator" });
    expect(await statusOf(token, "GET", "/2/query/node?fields=name")).toBe(200);
  });

  test("parameters of root need a token with root, of a maker with root", async () => {
    const json = { hvparams: { kvm_extra: "-device foo" } };
    const modify = (token: string) => statusOf(token, "PUT", "/2/instances/inst1.gnt.test/modify", { json });
    const rights = { instances: "write" };
    const withRoot = await make({ rights, root: true }, basic("root:toor"));
    const without = await make({ rights }, basic("root:toor"));
    expect(await modify(withRoot.token)).toBe(200);
    expect(await modify(without.token)).toBe(403);
  });
});

describe("a token is worth nothing", () => {
  const path = "/2/instances";
  const rights = { instances: "read" };

  test("when it is revoked, by its maker or by one who may write", async () => {
    const first = await make({ rights }, { user: "operator" });
    const second = await make({ rights });
    expect((await bed.call("DELETE", `/2/tokens/${second.id}`, { user: "operator" })).status).toBe(404);
    expect((await bed.get("/2/tokens", { user: "operator" })).json).not.toContainEqual(
      expect.objectContaining({ id: second.id }),
    );
    for (const { id, token } of [first, second]) {
      expect(await statusOf(token, "GET", path)).toBe(200);
      expect((await bed.call("DELETE", `/2/tokens/${id}`)).status).toBe(200);
      expect(await statusOf(token, "GET", path)).toBe(401);
    }
  });

  test("when it has expired, and is then forgotten", async () => {
    const { id, token } = await make({ rights, expires_in: 60 });
    nowMs += 59_000;
    expect(await statusOf(token, "GET", path)).toBe(200);
    nowMs += 1_000;
    expect(await statusOf(token, "GET", path)).toBe(401);
    await make({ rights });
    expect((await bed.get("/2/tokens")).text).not.toContain(id);
  });

  test("when its secret is another, or its id", async () => {
    const [a, b] = [await make({ rights }), await make({ rights })];
    const swapped = `gnt_${a.id}_${b.token.slice(-43)}`;
    const unknown = `gnt_${"0".repeat(16)}_${a.token.slice(-43)}`;
    for (const wrong of [swapped, unknown, a.token.slice(0, -1), `${a.token}x`, "gnt__"])
      expect(await statusOf(wrong, "GET", path)).toBe(401);
  });

  test("when its maker has no rights any more, or less than it", async () => {
    const { token } = await make({ rights: { instances: "write" } });
    const shutdown = () => statusOf(token, "PUT", "/2/instances/inst1.gnt.test/shutdown");
    await writeFile(bed.usersFile, USERS.replace("secret write", "secret read"));
    await vi.waitFor(async () => expect(await shutdown()).toBe(403), 10_000);
    await writeFile(bed.usersFile, USERS.replace("admin", "another"));
    await vi.waitFor(async () => expect(await shutdown()).toBe(401), 10_000);
    await writeFile(bed.usersFile, USERS);
    await vi.waitFor(async () => expect(await shutdown()).toBe(200), 10_000);
  });
});

test("it may come as the password of the user token", async () => {
  const { token } = await make({ rights: { instances: "read" } });
  expect((await bed.get("/2/instances", basic(`token:${token}`))).status).toBe(200);
  expect((await bed.get("/2/nodes", basic(`token:${token}`))).status).toBe(403);
  expect((await bed.get("/2/instances", basic(`admin:${token}`))).status).toBe(401);
});

test("its last use is known to the hour, and costs one write an hour", async () => {
  const { id, token } = await make({ rights: { instances: "read" } });
  const before = bed.configStore.view.serial;
  const lastUsed = () => bed.configStore.view.tokens.get(id)?.lastUsed;
  for (let i = 0; i < 20; i++) await statusOf(token, "GET", "/2/instances");
  const hour = Math.floor(nowMs / 3_600_000) * 3600;
  await vi.waitFor(() => expect(lastUsed()).toBe(hour));
  expect(bed.configStore.view.serial).toBe(before + 1);
  nowMs += 3_600_000;
  await statusOf(token, "GET", "/2/instances");
  await vi.waitFor(() => expect(lastUsed()).toBe(hour + 3600));
});

test("a standby takes tokens, and makes none", async () => {
  const { token } = await make({ rights: { instances: "read" } });
  bed.leads = false;
  try {
    expect(await statusOf(token, "GET", "/2/instances")).toBe(200);
    const reply = await bed.call("POST", "/2/tokens", { json: { name: "a", rights: { all: "read" } } });
    expect(reply.status).toBe(503);
  } finally {
    bed.leads = true;
  }
});
