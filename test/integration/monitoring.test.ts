/** What a cluster that works tells Prometheus and its audit log; the dashboard and the alerts ask for nothing else. */
import { readFile, rename, stat } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../e2e/conditions.ts";
import { freePort, OneMachineCluster } from "../one-machine-cluster.ts";

const DEPLOY = path.resolve(import.meta.dirname, "../../deploy");
const INSTANCE = "watched.gannet.test";

let cluster: OneMachineCluster;
let port: number;
beforeAll(async () => {
  port = await freePort();
  cluster = await OneMachineCluster.start({ nodes: 1, env: { GANNET_METRICS_PORT: String(port) } });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const page = (host: string, name: string) => fetch(`http://${host}:${port}/${name}`);
const scrape = async (host: string) => (await page(host, "metrics")).text();
const master = () => scrape("127.0.0.1");
/** The first node's address (deploy/one-machine/layout.ts). */
const NODE = "127.0.0.11";

describe("a cluster with an instance", () => {
  beforeAll(async () => {
    await cluster.succeed("POST", "/2/instances", {
      ...{ __version__: 1, mode: "create", instance_name: INSTANCE, os_type: "noop", hypervisor: "fake" },
      ...{ disk_template: "file", disks: [{ size: 8 }], nics: [], pnode: "node1.gannet.test" },
    });
  });

  test("the master tells of its requests, jobs and calls", async () => {
    const text = await master();
    expect(text).toMatch(/^gannet_master_leader 1$/m);
    expect(text).toMatch(/^gannet_jobs\{status="success"\} [1-9]/m);
    expect(text).toMatch(/^gannet_opcode_duration_seconds_count\{opcode="OP_INSTANCE_CREATE",result="success"\} 1$/m);
    expect(text).toMatch(
      /^gannet_rapi_request_duration_seconds_count\{method="POST",route="\/2\/instances",status="200"\} 1$/m,
    );
    expect(text).toMatch(
      /^gannet_rpc_client_duration_seconds_count\{method="InstanceService\/\w+",outcome="ok"\} [1-9]/m,
    );
    expect(text).toMatch(/^gannet_nodes\{state="connected"\} 1$/m);
    // Bounded: figures do not grow with the instances that there are.
    expect(text).not.toContain(INSTANCE);
  });

  test("the agent tells of its guests, memory, storage and calls", async () => {
    await eventually("the guest is counted", async () =>
      /^gannet_guests\{hypervisor="fake",status="\w+"\} 1$/m.test(await scrape(NODE)),
    );
    const text = await scrape(NODE);
    expect(text).toMatch(/^gannet_node_memory_bytes\{kind="free"\} [1-9]/m);
    expect(text).toMatch(/^gannet_storage_free_bytes\{type="file",name="[^"]+"\} [1-9]/m);
    expect(text).toMatch(
      /^gannet_rpc_server_duration_seconds_count\{method="InstanceService\/\w+",outcome="ok"\} [1-9]/m,
    );
    expect(text).toMatch(/^gannet_agent_watchers 1$/m);
    expect(text).not.toContain(INSTANCE);
  });
});

test("both say that they are ready, and as what", async () => {
  expect(await (await page("127.0.0.1", "readyz")).json()).toMatchObject({ ready: true, role: "leader" });
  expect(await (await page(NODE, "readyz")).json()).toMatchObject({ ready: true, node: "node1.gannet.test" });
});

test("while Redis hangs the master is alive, and tells what it knows without it", async () => {
  const redis = await cluster.pid("redis");
  process.kill(redis, "SIGSTOP");
  try {
    expect((await page("127.0.0.1", "healthz")).status).toBe(200);
    const text = await master();
    expect(text).toMatch(/^gannet_config_serial \d/m);
    expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds \d/m);
    for (const absent of ["gannet_redis_round_trip_seconds", "gannet_jobs", "gannet_lock_waiters"])
      expect(text).not.toMatch(new RegExp(`^${absent}[ {]`, "m"));
  } finally {
    process.kill(redis, "SIGCONT");
  }
  await eventually("Redis answers again", async () => /^gannet_redis_round_trip_seconds \d/m.test(await master()));
  await eventually("somebody leads", async () => /^gannet_master_leader 1$/m.test(await master()));
});

test("the audit log has the changes with their jobs, and goes on in a new file after SIGHUP", async () => {
  const file = path.join(cluster.stateDir, "master/state/audit.log");
  const tagged = async (tag: string) => (await cluster.rapi("PUT", `/2/tags?tag=${tag}`)).body;
  const entries = async (name: string) => {
    const text = await readFile(name, "utf8").catch(() => "");
    return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
  };
  const first = await tagged("one");
  const line = { user: "admin", method: "PUT", path: "/2/tags", opcodes: ["OP_TAGS_SET"], status: 200 };
  await eventually("the first is recorded", async () => (await entries(file)).some(({ job }) => job === first));
  await rename(file, `${file}.1`);
  process.kill(await cluster.pid("master"), "SIGHUP");
  await eventually("the new file is there", async () => (await stat(file)).isFile());
  const second = await tagged("two");
  await eventually("the second is recorded", async () => (await entries(file)).length > 0);
  expect(await entries(file)).toEqual([expect.objectContaining({ ...line, address: "127.0.0.1", job: second })]);
  expect((await entries(`${file}.1`)).at(-1)).toMatchObject({ ...line, job: first });
});

describe("what is asked for exists", () => {
  /** Labels of each metric that has samples; none where it has not. */
  let known: ReadonlyMap<string, ReadonlySet<string>>;
  beforeAll(async () => {
    const text = `${await master()}\n${await scrape(NODE)}`;
    const labels = new Map<string, Set<string>>();
    for (const [, name = ""] of text.matchAll(/^# TYPE (\w+) /gm)) labels.set(name, new Set());
    for (const [, sample = "", inside = ""] of text.matchAll(/^(\w+)\{([^}]*)\} /gm))
      for (const [, label = ""] of inside.matchAll(/(\w+)="/g)) labels.get(baseOf(sample, labels))?.add(label);
    known = labels;
  });

  /** Buckets, sums and counts are a histogram's. */
  function baseOf(name: string, metrics: ReadonlyMap<string, unknown>): string {
    const base = name.replace(/_(bucket|sum|count)$/, "");
    return metrics.has(name) ? name : base;
  }

  function faultsOf(expression: string): readonly string[] {
    const bare = expression.replaceAll(/"[^"]*"/g, '""');
    const names = [...bare.matchAll(/\b(?:gannet|nodejs|process)_\w+/g)].map(([name]) => baseOf(name, known));
    const unknown = names.filter((name) => !known.has(name)).map((name) => `${name} is no metric`);
    const labels = new Set(["instance", "job", "le", ...names.flatMap((name) => [...(known.get(name) ?? [])])]);
    const used = [
      ...[...bare.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(/\s*,\s*/)),
      ...[...bare.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*""/g)].map(([, label = ""]) => label),
    ];
    const strange = names.some((name) => known.get(name)?.size === 0) ? [] : used.filter((label) => !labels.has(label));
    return [...unknown, ...strange.map((label) => `${label} is no label in ${expression}`)];
  }

  test("by the dashboard", async () => {
    const dashboard = JSON.parse(await readFile(path.join(DEPLOY, "grafana/gannet.json"), "utf8"));
    const panels: { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[] =
      dashboard.panels;
    const expressions = [
      ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ...dashboard.annotations.list.map(({ expr }: { readonly expr: string }) => expr),
    ];
    expect(expressions.length).toBeGreaterThan(20);
    expect(expressions.flatMap(faultsOf)).toEqual([]);
    expect(faultsOf("gannet_no_such_metric + sum by (nothing) (gannet_jobs)")).toHaveLength(2);
    const ids = dashboard.panels.map(({ id }: { readonly id: number }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("by the alerts", async () => {
    const text = await readFile(path.join(DEPLOY, "prometheus/alerts.yml"), "utf8");
    const rules = text.split(/^ +- alert: /m).slice(1);
    const expressions = rules.map((rule) => /expr: (?:>-\n)?([\s\S]*?)\n +(?:for|labels):/.exec(rule)?.[1] ?? "");
    expect(expressions.filter((expression) => !/gannet_|nodejs_/.test(expression))).toEqual([]);
    expect(expressions.flatMap(faultsOf)).toEqual([]);
    const configuration = await readFile(path.join(DEPLOY, "prometheus/prometheus.yml"), "utf8");
    expect(configuration).toContain("rule_files: [alerts.yml]");
  });
});
