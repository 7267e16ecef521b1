import { readFileSync } from "node:fs";
import { HttpError } from "@gannet/errors";
import { describe, expect, test } from "vitest";
import { parseDirectRequest, RESOURCES } from "../src/index.ts";
import { resourceMethod, submit, submitOne, TIME_NS } from "./api-request.ts";

function refusal(run: () => unknown): readonly [status: number, message: string] {
  try {
    run();
  } catch (error) {
    if (error instanceof HttpError) return [error.status, error.message];
    throw error;
  }
  throw new Error("was not refused");
}

const web1 = "/2/instances/web1.example.com";
const create = { __version__: 1, mode: "create", instance_name: "web1", disks: [{ size: "1g" }], nics: [{}] };

describe("the parameters of a body, in the specification's places", () => {
  interface Facts {
    readonly static?: readonly string[];
    readonly body?: string | readonly string[];
    readonly seedBody?: readonly string[];
  }
  const spec = JSON.parse(readFileSync(new URL("fixtures/resources.json", import.meta.url), "utf8")) as Readonly<
    Record<string, { readonly methods: Readonly<Record<string, Facts>> }>
  >;
  /** What this body holds beside the parameter in question, so that the request gets that far. */
  const cases = Object.entries(spec).flatMap(([path, { methods }]) =>
    Object.entries(methods).flatMap(([method, facts]) =>
      facts.static === undefined ? [] : [{ name: `${method} ${path}`, method, path, facts }],
    ),
  );
  const exampleOf = (path: string) => path.replace(":disk_index", "0").replaceAll(/:\w+/g, "web1");
  const queryOf = (method: string, path: string) => {
    const found = resourceMethod(method, exampleOf(path));
    if (found.kind !== "job") throw new Error("no job");
    return Object.entries(found.route.query ?? {})
      .flatMap(([name, { required }]) => (required ? [`${name}=x`] : []))
      .join("&");
  };

  test.each(cases)("$name", ({ method, path, facts }) => {
    const target = `${exampleOf(path)}?${queryOf(method, path)}`;
    const constants = path === "/2/instances" ? { __version__: 1 } : {};
    const faultOf = (key: string, value: unknown) => {
      try {
        submit(method, target, { ...constants, [key]: value });
      } catch (error) {
        return error instanceof HttpError ? error.message : String(error);
      }
      return "";
    };
    const ofDocument25 = (facts.seedBody ?? []).filter((key) => key !== "__version__");
    for (const key of facts.static ?? [])
      if (!ofDocument25.includes(key)) expect(faultOf(key, 1), key).toMatch(/cannot stand in the body/);
    for (const key of facts.body ?? []) {
      if (key === "__version__") continue;
      // No parameter takes both an object and a list of lists.
      const faults = [faultOf(key, { a: 1 }), faultOf(key, [[0]])].join();
      expect(faults, key).not.toMatch(/cannot stand in the body|has no parameter/);
      expect(faults, key).toMatch(/Parameter '|cannot be set/);
    }
    for (const key of ofDocument25) expect(faultOf(key, null), `2.5: ${key}`).not.toMatch(/has no parameter/);
    expect(faultOf("no_such_parameter", 1)).toMatch(/has no parameter "no_such_parameter"/);
  });
});

describe("bodies", () => {
  test("no body and null count as an empty object", () => {
    for (const body of [undefined, null, {}])
      expect(submitOne("PUT", `${web1}/modify`, body)).toMatchObject({ instance_name: "web1.example.com", nics: [] });
  });

  test.each([[], "x", 5, true])("%j is refused where parameters are wanted", (body) => {
    expect(refusal(() => submit("PUT", `${web1}/modify`, body))).toEqual([400, "The body must be a JSON object"]);
  });

  test("sizes with units and nulls arrive as numbers and defaults", () => {
    const op = submitOne("POST", "/2/instances", {
      ...create,
      disks: [{ size: "1.5g", mode: "rw", my_param: "1" }, { size: "128" }],
      osparams: null,
      start: null,
      pnode: null,
    });
    expect(op).toMatchObject({
      disks: [{ size: 1536, mode: "rw", my_param: "1" }, { size: 128 }],
      osparams: {},
      start: true,
      pnode: null,
    });
  });

  test("older names are taken, but not both", () => {
    const { instance_name: _, ...rest } = create;
    expect(submitOne("POST", "/2/instances", { ...rest, name: "Web1.", os: "noop" })).toMatchObject({
      instance_name: "web1",
      os_type: "noop",
    });
    expect(refusal(() => submit("POST", "/2/instances", { ...create, name: "web1" }))).toEqual([
      400,
      "Parameter 'name' was renamed to 'instance_name': give one of them only",
    ]);
    const modify = submitOne("PUT", `${web1}/modify`, { custom_beparams: { vcpus: 2 } });
    expect(modify).toMatchObject({ beparams: { vcpus: 2 } });
    expect(submitOne("PUT", `${web1}/export`, { destination: "node2" })).toMatchObject({ target_node: "node2" });
  });

  test("the version of a create must be 1", () => {
    for (const version of [undefined, 0, 2, "1", null])
      expect(refusal(() => submit("POST", "/2/instances", { ...create, __version__: version }))).toEqual([
        400,
        "The body's __version__ must be 1",
      ]);
  });

  test("a parameter that only the master's own console may set is forbidden", () => {
    expect(refusal(() => submit("PUT", "/2/modify", { compression_tools: ["gzip"] }))[0]).toBe(403);
  });

  test("USB devices separated by spaces are separated by commas", () => {
    const hvparams = { usb_devices: "a:b c:d", kvm_flag: "" };
    const expected = { hvparams: { usb_devices: "a:b,c:d", kvm_flag: "" } };
    expect(submitOne("POST", "/2/instances", { ...create, hvparams })).toMatchObject(expected);
    expect(submitOne("PUT", `${web1}/modify`, { hvparams })).toMatchObject(expected);
  });

  test("an ignored body gives its dependencies only", () => {
    const body = { depends: [["12", []]], beparams: { memory: 1 }, priority: "high", reason: "x" };
    const op = submitOne("PUT", `${web1}/startup`, body);
    expect(op).toMatchObject({ depends: [[12, []]], beparams: {}, priority: 0 });
    for (const key of ["instance_name", "force", "dry_run", "nosuch", "OP_ID", "__proto__"])
      expect(refusal(() => submit("PUT", `${web1}/startup`, JSON.parse(`{"${key}": true}`)))[0], key).toBe(400);
    expect(refusal(() => submit("PUT", `${web1}/startup`, [])).at(0)).toBe(400);
  });

  test("dependencies of a whole job wait before its first opcode", () => {
    const { opcodes } = submit("POST", `${web1}/reinstall`, { os: "noop", depends: [[7, ["success"]]] });
    expect(opcodes.map(({ OP_ID, depends }) => [OP_ID, depends])).toEqual([
      ["OP_INSTANCE_SHUTDOWN", [[7, ["success"]]]],
      ["OP_INSTANCE_REINSTALL", null],
      ["OP_INSTANCE_STARTUP", null],
    ]);
    expect(submitOne("PUT", "/2/tags?tag=a", { depends: [[7, []]] })).toMatchObject({
      tags: ["a"],
      depends: [[7, []]],
    });
  });
});

describe("forms of the 2.5 document", () => {
  test("its defaults hold where the cluster says so", () => {
    const options = { rapiDefaults: "2.5" } as const;
    const checks = { ip_check: true, name_check: true };
    expect(submitOne("POST", "/2/instances", create, options)).toMatchObject(checks);
    expect(submitOne("POST", "/2/instances", { ...create, name_check: null }, options)).toMatchObject(checks);
    expect(submitOne("POST", "/2/instances", { ...create, ip_check: false }, options)).toMatchObject({
      ip_check: false,
      name_check: true,
    });
    expect(submitOne("PUT", `${web1}/rename`, { new_name: "web2" }, options)).toMatchObject({
      ip_check: false,
      name_check: true,
    });
    expect(submitOne("POST", "/2/instances", create)).toMatchObject({ ip_check: false, name_check: false });
  });

  test("a shutdown's no_remember may stand in the body; the query goes before", () => {
    const shutdown = (query: string, body: object) => submitOne("PUT", `${web1}/shutdown${query}`, body).no_remember;
    expect(shutdown("", { no_remember: true })).toBe(true);
    expect(shutdown("?no_remember=1", { no_remember: true })).toBe(true);
    expect(refusal(() => shutdown("?no_remember=0", { no_remember: true }))[0]).toBe(400);
  });

  test("an evacuation's node_name may stand in the body if it is the path's", () => {
    const evacuate = (body: object) => submitOne("POST", "/2/nodes/node1/evacuate", { mode: "all", ...body });
    expect(evacuate({ node_name: "node1" })).toMatchObject({ node_name: "node1", mode: "all" });
    expect(refusal(() => evacuate({ node_name: "node2" }))[0]).toBe(400);
  });

  test.each([
    ["add", ["add", { mac: "auto" }], ["add", -1, { mac: "auto" }]],
    ["remove", ["remove", {}], ["remove", -1, {}]],
    ["an index", [2, { ip: "none" }], ["modify", 2, { ip: "none" }]],
  ])("the older form of a NIC's change: %s", (_name, given, expected) => {
    expect(submitOne("PUT", `${web1}/modify`, { nics: [given] })).toMatchObject({ nics: [expected] });
  });

  test("older query arguments of replace-disks, migrate and reinstall", () => {
    const replaced = submitOne(
      "POST",
      `${web1}/replace-disks?mode=replace_on_primary&disks=0,2&remote_node=&early_release=1`,
    );
    expect(replaced).toMatchObject({
      mode: "replace_on_primary",
      disks: [0, 2],
      remote_node: null,
      early_release: true,
    });
    expect(submitOne("POST", `${web1}/replace-disks`, { mode: "replace_auto", disks: "1,3" })).toMatchObject({
      disks: [1, 3],
    });
    expect(refusal(() => submit("POST", `${web1}/replace-disks?mode=replace_auto`, { mode: "replace_auto" }))[0]).toBe(
      400,
    );

    expect(submitOne("POST", "/2/nodes/node1/migrate?live=1")).toMatchObject({ mode: "live" });
    expect(submitOne("POST", "/2/nodes/node1/migrate?live=0")).toMatchObject({ mode: "non-live" });
    expect(submitOne("POST", "/2/nodes/node1/migrate?mode=live&dry-run=1", {})).toMatchObject({ dry_run: true });
    expect(refusal(() => submit("POST", "/2/nodes/node1/migrate?live=1&mode=live"))[0]).toBe(400);
    expect(refusal(() => submit("POST", "/2/nodes/node1/migrate?live=yes"))[0]).toBe(400);

    const ids = (target: string, body?: unknown) => submit("POST", target, body).opcodes.map(({ OP_ID }) => OP_ID);
    expect(ids(`${web1}/reinstall?os=noop&nostartup=1`)).toEqual(["OP_INSTANCE_SHUTDOWN", "OP_INSTANCE_REINSTALL"]);
    expect(ids(`${web1}/reinstall?os=noop&nostartup=0`).length).toBe(3);
    expect(submit("POST", `${web1}/reinstall?os=noop`).opcodes[1]).toMatchObject({ os_type: "noop" });
    expect(ids(`${web1}/reinstall`, { start: false }).length).toBe(2);
    expect(refusal(() => submit("POST", `${web1}/reinstall?os=noop`, { os: "noop" }))[0]).toBe(400);
    expect(refusal(() => submit("POST", `${web1}/reinstall`, { os: "../x" }))[0]).toBe(400);
    expect(refusal(() => submit("POST", `${web1}/reinstall`, { image: "x" }))[0]).toBe(400);
  });

  test("tags come from the query, the body's list, or both", () => {
    const tagsOf = (target: string, body?: unknown) => submitOne("PUT", target, body);
    expect(tagsOf(`${web1}/tags?tag=a&tag=b:c`)).toMatchObject({
      kind: "instance",
      name: "web1.example.com",
      tags: ["a", "b:c"],
    });
    expect(tagsOf("/2/nodes/node1/tags", ["a", "b"])).toMatchObject({ kind: "node", name: "node1", tags: ["a", "b"] });
    expect(tagsOf("/2/groups/g1/tags?tag=a", ["a", "b"])).toMatchObject({ kind: "nodegroup", tags: ["a", "b"] });
    expect(tagsOf("/2/networks/n1/tags?tag=", undefined)).toMatchObject({ kind: "network", tags: [] });
    expect(tagsOf("/2/tags", { tags: ["x"] })).toMatchObject({ kind: "cluster", name: null, tags: ["x"] });
    expect(submitOne("DELETE", "/2/tags?tag=x&dry-run=1")).toMatchObject({ tags: ["x"], dry_run: true });
    for (const body of ["x", 5, { label: "x" }, { tags: "x" }, [5]])
      expect(refusal(() => tagsOf("/2/tags", body))[0]).toBe(400);
  });
});

describe("query arguments", () => {
  test.each(["x", "1.5", "true", "0x1", "1 ", "--1"])("a flag that is %j is refused", (value) => {
    const target = `${web1}/startup?force=${encodeURIComponent(value)}`;
    expect(refusal(() => submit("PUT", target))).toEqual([400, "Invalid value for the 'force' parameter"]);
  });

  test("flags are numbers, empty values absence, the first of several counts, unknown arguments nothing", () => {
    const force = (query: string) => submitOne("PUT", `${web1}/startup?${query}`).force;
    expect([force("force=1"), force("force=2"), force("force=0"), force("force=")]).toEqual([true, true, false, false]);
    expect([force("force=0&force=1"), force("force=&force=1"), force("nosuch=1")]).toEqual([false, true, false]);
  });

  test("a dry run is asked for where the specification says, and nowhere else", () => {
    expect(submitOne("PUT", `${web1}/startup?dry-run=1`).dry_run).toBe(true);
    expect(submitOne("PUT", `${web1}/startup`).dry_run).toBe(false);
    expect(submitOne("PUT", `${web1}/modify`, { dry_run: true }).dry_run).toBe(true);
    expect(submitOne("PUT", `${web1}/modify?dry-run=1`, {}).dry_run).toBe(null);
    expect(refusal(() => submit("PUT", `${web1}/startup?dry-run=x`))[1]).toBe(
      "Invalid value for the 'dry-run' parameter",
    );
    expect(refusal(() => submit("PUT", `${web1}/shutdown`, { dry_run: true }))[0]).toBe(400);
  });

  test("required ones are missed", () => {
    const missed = refusal(() => submit("GET", "/2/nodes/node1/storage?storage_type=file"));
    expect(missed).toEqual([400, "Missing the required 'output_fields' parameter"]);
    expect(refusal(() => submit("PUT", `${web1}/prepare-export`))[0]).toBe(400);
  });

  test("lists, choices and the irregular ones arrive as parameters", () => {
    expect(submitOne("GET", "/2/nodes/node1/storage?output_fields=name,size&storage_type=file")).toMatchObject({
      nodes: ["node1"],
      output_fields: ["name", "size"],
      storage_type: "file",
    });
    const modify = "/2/nodes/node1/storage/modify?storage_type=lvm-pv&name=/dev/sda";
    expect(submitOne("PUT", modify)).toMatchObject({ changes: {}, name: "/dev/sda" });
    expect(submitOne("PUT", `${modify}&allocatable=0`)).toMatchObject({ changes: { allocatable: false } });
    expect(submitOne("GET", `${web1}/info?static=1`)).toMatchObject({ instances: ["web1.example.com"], static: true });
    expect(submitOne("POST", `${web1}/reboot`)).toMatchObject({ reboot_type: "hard", ignore_secondaries: false });
    expect(submitOne("POST", `${web1}/reboot?type=soft`)).toMatchObject({ reboot_type: "soft" });
    expect(submitOne("POST", `${web1}/disk/3/grow`, { amount: "1g" })).toMatchObject({ disk: 3, amount: 1024 });
    expect(refusal(() => submit("POST", `${web1}/disk/16/grow`, { amount: 1 }))[0]).toBe(400);
  });
});

describe("the role of a node", () => {
  test.each([
    ["regular", { master_candidate: false, offline: false, drained: false }],
    ["master-candidate", { master_candidate: true, offline: null, drained: null }],
    ["drained", { master_candidate: null, offline: null, drained: true }],
    ["offline", { master_candidate: null, offline: true, drained: null }],
  ])("%s", (role, flags) => {
    expect(submitOne("PUT", "/2/nodes/node1/role?auto-promote=1&force=1", role)).toMatchObject({
      node_name: "node1",
      force: true,
      auto_promote: true,
      ...flags,
    });
  });

  test.each(["master", "bogus", { role: "drained" }, null, ["drained"], ""])("cannot be set to %j", (role) => {
    const [status, message] = refusal(() => submit("PUT", "/2/nodes/node1/role", role));
    expect([status, message]).toEqual([400, expect.stringContaining("regular, master-candidate, drained, offline")]);
  });
});

test("allocations of many instances take the older names and are checked like a create", () => {
  const item = { mode: "create", name: "web1", os: "noop", disks: [{ size: "1g" }], nics: [] };
  expect(submitOne("POST", "/2/instances-multi-alloc", { instances: [item] })).toMatchObject({
    instances: [{ instance_name: "web1", os_type: "noop", disks: [{ size: 1024 }] }],
  });
  expect(submitOne("POST", "/2/instances-multi-alloc", {})).toMatchObject({ instances: [] });
  for (const bad of [{ ...item, name: "../x" }, { ...item, __version__: 1 }, { ...item, instance_name: "web1" }, 5])
    expect(refusal(() => submit("POST", "/2/instances-multi-alloc", { instances: [bad] }))[0]).toBe(400);
});

test("the reason trail tells who asked and through what", () => {
  expect(submitOne("PUT", `${web1}/startup?reason=spring%20cleaning`).reason).toEqual([
    ["gnt:user", "spring cleaning", TIME_NS],
    ["gnt:library:rlib2:instances_name_startup", "", TIME_NS],
  ]);
  expect(submitOne("PUT", "/2/redistribute-config").reason).toEqual([["gnt:library:rlib2:redist_config", "", TIME_NS]]);
});

describe("methods that answer at once", () => {
  const parse = (method: string, target: string, body?: unknown) => {
    const [path = "", query = ""] = target.split("?");
    const found = resourceMethod(method, path);
    if (found.kind !== "direct") throw new Error("a job");
    const pathParams = RESOURCES.map(({ pattern }) => pattern.exec(path)?.groups).find((groups) => groups) ?? {};
    return parseDirectRequest(found, { pathParams, query: new URLSearchParams(query), body });
  };

  test("get their path and query as parameters", () => {
    expect(parse("GET", "/2/instances?bulk=1&nosuch=x").params).toEqual({ bulk: true });
    expect(parse("GET", "/2/query/node?fields=name,role").params).toEqual({
      resource: "node",
      fields: ["name", "role"],
    });
    expect(parse("GET", "/2/groups/g1/tags").params).toEqual({ kind: "nodegroup", name: "g1" });
    expect(refusal(() => parse("GET", "/2/instances?bulk=abc"))[1]).toBe("Invalid value for the 'bulk' parameter");
    expect(refusal(() => parse("GET", "/2/query/node?fields="))[0]).toBe(400);
  });

  test("get counts as whole numbers, from the least on", () => {
    expect(parse("GET", "/2/jobs?bulk=1&limit=20&after=0").params).toEqual({ bulk: true, limit: 20, after: 0 });
    expect(parse("GET", "/2/jobs?limit=&after=").params).toEqual({});
    for (const query of ["limit=0", "limit=-1", "limit=x", "limit=1.5", "after=%201", "after=1e3", "after=0x1"])
      expect(refusal(() => parse("GET", `/2/jobs?${query}`))).toEqual([
        400,
        expect.stringMatching(/^The '(limit|after)' parameter must be a whole number, [01] or more$/),
      ]);
  });

  test("get their bodies checked", () => {
    expect(parse("GET", "/2/jobs/7/wait", { fields: ["status"], previous_job_info: null }).body).toEqual({
      fields: ["status"],
      previous_job_info: null,
      previous_log_serial: null,
    });
    expect(refusal(() => parse("GET", "/2/jobs/7/wait"))[1]).toBe("Parameter 'fields' is required");
    expect(refusal(() => parse("GET", "/2/jobs/7/wait", { fields: "status" }))[0]).toBe(400);
    expect(parse("PUT", "/2/query/node", { fields: ["name"], filter: ["=", "name", "x"] }).body).toEqual({
      fields: ["name"],
      qfilter: ["=", "name", "x"],
    });
    expect(refusal(() => parse("PUT", "/2/query/node", { fields: "name,role" }))[0]).toBe(400);
    expect(refusal(() => parse("PUT", "/2/query/node", { fields: ["name"], qfilter: "name == x" }))[0]).toBe(400);
    expect(parse("POST", "/2/filters", { priority: 5 }).body).toEqual({
      priority: 5,
      predicates: [],
      action: "CONTINUE",
      reason: [],
    });
    expect(parse("POST", "/2/filters", { action: ["RATE_LIMIT", 2] }).body).toMatchObject({
      action: ["RATE_LIMIT", 2],
    });
    expect(refusal(() => parse("POST", "/2/filters", { action: "BOGUS" }))[0]).toBe(400);
    expect(parse("GET", "/2/features", { x: 1 }).body).toBe(null);
  });
});
