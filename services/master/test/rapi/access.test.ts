/** Who may do what: every method of every resource, for each kind of user. */
import { writeFile } from "node:fs/promises";
import { type Access, RESOURCES } from "@gannet/opcodes";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { FENCE, type RapiTestbed, startRapiTestbed, USERS } from "./rapi-testbed.ts";

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed({ users: USERS.replace("secret write", "secret write,root") });
});
afterAll(() => bed[Symbol.asyncDispose]());

/** Who joins the cluster is no user yet: the token in the body is looked at in place of credentials. */
const JOINING = new Set(["/2/join", "/2/join/complete"]);
const METHODS = RESOURCES.flatMap(({ methods }) => [...methods.values()])
  .filter(({ path }) => !JOINING.has(path))
  .map(({ method, path, access }) => ({
    method,
    access,
    // Nothing that exists: what is allowed goes on to find nothing, or submits a job that nobody runs.
    path: path.replaceAll(/:(job_id|disk_index)/g, "999").replaceAll(/:\w+/g, "nosuch"),
  }));

const MAY: Readonly<Record<"reader" | "operator" | "admin", readonly Access[]>> = {
  reader: ["none"],
  operator: ["none", "read"],
  admin: ["none", "read", "write"],
};

describe.for(METHODS)("$method $path", ({ method, path, access }) => {
  test.for(["reader", "operator", "admin"] as const)("by %s", async (user) => {
    const { status } = await bed.call(method, path, { user });
    if (MAY[user].includes(access)) expect([200, 400, 404, 501]).toContain(status);
    else expect(status).toBe(403);
  });

  test("without credentials", async () => {
    expect((await bed.call(method, path, { user: null })).status).toBe(401);
  });
});

test("with anonymous reads, open resources need no credentials, and wrong ones are still wrong", async () => {
  const setAnonymousReads = (rapiAnonymousReads: boolean) =>
    bed.configStore.commit(({ cluster }) => [{ kind: "cluster", put: { ...cluster, rapiAnonymousReads } }], FENCE);
  await setAnonymousReads(true);
  for (const { method, path, access } of METHODS) {
    const { status } = await bed.call(method, path, { user: null });
    if (access === "none") expect([200, 400, 404, 501]).toContain(status);
    else expect(status).toBe(401);
    expect((await bed.call(method, path, { user: null, headers: { Authorization: "Basic Og==" } })).status).toBe(401);
  }
  await setAnonymousReads(false);
  expect((await bed.get("/version", { user: null })).status).toBe(401);
});

test("rights follow the users file", async () => {
  const shutdown = () => bed.call("PUT", "/2/instances/inst1.gnt.test/shutdown", { user: "reader" });
  expect((await shutdown()).status).toBe(403);
  await writeFile(bed.usersFile, "admin secret write\nreader readonly write\noperator peek read\n");
  await vi.waitFor(async () => expect((await shutdown()).status).toBe(200), 10_000);
  await writeFile(bed.usersFile, "admin secret write\noperator peek read\n");
  await vi.waitFor(async () => expect((await shutdown()).status).toBe(401), 10_000);
});
