/** Requests that cannot be carried out: each is refused with its class, and nothing is changed by it. */
import { appendFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";

const CREATE = {
  __version__: 1,
  mode: "create",
  instance_name: "a.gannet.test",
  disk_template: "diskless",
  disks: [],
  nics: [{}],
  os_type: "noop",
  pnode: "node1.gannet.test",
  hypervisor: "fake",
};

let cluster: OneMachineCluster;

beforeAll(async () => {
  cluster = await OneMachineCluster.start({ nodes: 2 });
  await appendFile(path.join(cluster.stateDir, "rapi/users"), "reader lookonly read\n");
  await cluster.job("POST", "/2/instances", { ...CREATE, instance_name: "taken.gannet.test" });
});
afterAll(() => cluster[Symbol.asyncDispose]());

async function errorOf(changes: Record<string, unknown>): Promise<[string, [string, string?]]> {
  const job: FinishedJob = await cluster.job("POST", "/2/instances", { ...CREATE, ...changes });
  expect(job.status).toBe("error");
  return job.opresult[0] as [string, [string, string?]];
}

describe("a create that cannot be carried out ends as error with its class and code", () => {
  test.each<[string, Record<string, unknown>, string, string | undefined]>([
    ["name in use", { instance_name: "taken.gannet.test" }, "OpPrereqError", "already_exists"],
    ["unknown node", { pnode: "node99.gannet.test" }, "OpPrereqError", "unknown_entity"],
    ["unknown OS", { os_type: "nosuchos" }, "OpPrereqError", "unknown_entity"],
    ["OS variant where there is none", { os_type: "noop+x" }, "OpPrereqError", "wrong_input"],
    ["hypervisor not enabled", { hypervisor: "xen-pvm" }, "OpPrereqError", "wrong_state"],
    ["template not enabled", { disk_template: "plain", disks: [{ size: 10 }] }, "OpPrereqError", "wrong_input"],
    ["disks of a diskless instance", { disks: [{ size: 10 }] }, "OpPrereqError", "wrong_input"],
    ["unknown backend parameter", { beparams: { memroy: 128 } }, "TypeEnforcementError", undefined],
    ["memory that is no size", { beparams: { memory: "lots" } }, "TypeEnforcementError", undefined],
    ["unknown hypervisor parameter", { hvparams: { kernel: "x" } }, "TypeEnforcementError", undefined],
    ["memory beyond the policy", { beparams: { memory: 65_536 } }, "OpPrereqError", "wrong_input"],
    ["processors beyond the policy", { beparams: { vcpus: 64 } }, "OpPrereqError", "wrong_input"],
    [
      "memory beyond the node",
      { beparams: { memory: 8_000_000 }, ignore_ipolicy: true },
      "OpPrereqError",
      "insufficient_resources",
    ],
    [
      "disk beyond the node",
      { disk_template: "file", disks: [{ size: 1_000_000_000 }], ignore_ipolicy: true },
      "OpPrereqError",
      "insufficient_resources",
    ],
    ["MAC that is none", { nics: [{ mac: "zz:00" }] }, "OpPrereqError", "wrong_input"],
    ["routed NIC without an address", { nics: [{ mode: "routed" }] }, "OpPrereqError", "wrong_input"],
    ["unknown network", { nics: [{ network: "nosuchnet" }] }, "OpPrereqError", "unknown_entity"],
    ["no OS", { os_type: null }, "OpPrereqError", "wrong_input"],
    ["ip_check without name_check", { ip_check: true }, "OpPrereqError", "wrong_input"],
    ["name that does not resolve", { name_check: true }, "OpPrereqError", "resolver_error"],
  ])("%s", async (_what, changes, errorClass, code) => {
    const [className, [text, ecode]] = await errorOf(changes);
    expect([className, ecode]).toEqual([errorClass, code]);
    expect(text.length).toBeGreaterThan(10);
    expect((await cluster.rapi("GET", "/2/instances")).body).toHaveLength(1);
  });
});

describe("a request that is malformed is refused before it is a job", () => {
  const hostile = [
    "..",
    "../../etc/passwd",
    "a/b",
    "-rf",
    "a\u0000b",
    "a b",
    "x".repeat(300),
    ".",
    "",
    "a..b",
    "é.test",
  ];
  test.each(hostile)("instance name %j", async (name) => {
    const { status, body } = await cluster.rapi("POST", "/2/instances", { body: { ...CREATE, instance_name: name } });
    expect(status).toBe(400);
    expect(body).toMatchObject({ code: 400, message: expect.any(String), explain: expect.any(String) });
  });

  test.each(hostile.filter((name) => name !== ""))("path with %j", async (name) => {
    const { status } = await cluster.rapi("GET", `/2/instances/${encodeURIComponent(name)}`);
    expect(status).toBe(404);
  });

  test.each<[string, number, Parameters<OneMachineCluster["rapi"]>[2]]>([
    ["unknown parameter", 400, { body: { ...CREATE, colour: "red" } }],
    ["malformed JSON", 400, { raw: "{" }],
    ["wrong content type", 415, { raw: "{}", headers: { "content-type": "text/plain" } }],
    ["oversized body", 413, { raw: Buffer.alloc(10 * 1024 * 1024 + 1, 32) }],
    ["wrong password", 401, { body: CREATE, user: "admin:wrong" }],
    ["unknown user", 401, { body: CREATE, user: "nobody:x" }],
    ["a reader who writes", 403, { body: CREATE, user: "reader:lookonly" }],
  ])("%s is %i", async (_what, expected, options) => {
    expect((await cluster.rapi("POST", "/2/instances", options)).status).toBe(expected);
  });

  test("unknown instances are 404 on their own page and unknown_entity in a job", async () => {
    expect((await cluster.rapi("GET", "/2/instances/nosuch.gannet.test")).status).toBe(404);
    const job = await cluster.job("PUT", "/2/instances/nosuch.gannet.test/startup");
    expect(job.opresult[0]).toEqual(["OpPrereqError", [expect.stringContaining("nosuch"), "unknown_entity"]]);
  });

  test("a kvm parameter without effect is refused, not ignored", async () => {
    const [className, [text, code]] = await errorOf({ hypervisor: "fake", hvparams: { migration_mode: "live" } });
    expect([className, code]).toEqual(["OpPrereqError", "wrong_input"]);
    expect(text).toContain("migration_mode");
  });
});
