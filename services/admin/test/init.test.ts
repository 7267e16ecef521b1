/** `gannet-admin init` over real daemons: a cluster of one machine, or a machine as it was. */
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError, Unavailable } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { RapiClient } from "@gannet/rapi-client";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ClusterPlan, clusterPlan, type InitOptions } from "../src/init/cluster-plan.ts";
import { type InitParts, initCluster } from "../src/init/init-cluster.ts";
import { InitMachine, loopbackOptions } from "./init-machine.ts";

const ADDRESS = "127.53.0.2";
const runner = createCommandRunner({ logger: silentLogger() });

let options: InitOptions;
let machine: InitMachine;

function planWith(changes: Partial<InitOptions> = {}): Promise<ClusterPlan> {
  return clusterPlan({ ...options, ...changes }, runner);
}

function partsOf({ places, services }: InitMachine, changes: Partial<InitParts> = {}): InitParts {
  return { places, services, usableWithinMs: 90_000, signal: new AbortController().signal, tell: () => {}, ...changes };
}

/** Files below the machine's root, without the folders in which they are. */
async function filesOf({ places }: InitMachine): Promise<readonly string[]> {
  const entries = await readdir(places.root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name));
}

beforeAll(async () => {
  options = await loopbackOptions(ADDRESS);
  machine = await InitMachine.create();
});

afterAll(async () => {
  await machine[Symbol.asyncDispose]();
});

describe("what cannot be", () => {
  test.each<[option: string, changes: Partial<InitOptions>]>([
    ["--node-address", { nodeAddress: "node1" }],
    ["--node-name", { nodeName: "cluster.example.com" }],
    ["--master-netdev", { masterNetdev: "no-such-device" }],
    ["--master-ip", { masterIp: "::1" }],
    ["--master-netmask", { masterNetmask: "33" }],
    ["--enabled-hypervisors", { enabledHypervisors: "kvm,vmware" }],
    ["--enabled-disk-templates", { enabledDiskTemplates: "drbd" }],
    ["--nic-parameters", { nicParameters: "bridge=br0" }],
    ["--rapi-port", { rapiPort: "0" }],
  ])("%s is refused by its name", async (option, changes) => {
    await expect(planWith(changes)).rejects.toThrow(OpPrereqError);
    await expect(planWith(changes)).rejects.toThrow(option);
  });

  test("a node whose name is its loopback address needs another", async () => {
    const { nodeAddress: _, ...withoutAddress } = { ...options, nodeName: "localhost" };
    await expect(clusterPlan(withoutAddress, runner)).rejects.toThrow(/--node-address.*no other machine/);
  });

  test("a volume group must be there", async () => {
    await expect(planWith({ vgName: "nosuchgroup" })).rejects.toThrow(/no volume group nosuchgroup/);
  });
});

test("a cluster that does not answer is taken back, and can be made again", async () => {
  const started: string[] = [];
  const silent = { start: async () => void started.push("start"), stop: async () => void started.push("stop") };
  const parts = partsOf(machine, { services: silent, usableWithinMs: 0 });
  await expect(initCluster(await planWith(), parts)).rejects.toThrow(Unavailable);
  expect(started).toEqual(["start", "stop"]);
  expect(await filesOf(machine)).toEqual([]);
});

test("a stop by the operator takes everything back, and says why it ended", async () => {
  const stop = new AbortController();
  const started = {
    start: async () => stop.abort(new OpPrereqError("Stopped", "environment_error")),
    stop: async () => {},
  };
  const parts = partsOf(machine, { services: started, signal: stop.signal });
  await expect(initCluster(await planWith(), parts)).rejects.toThrow("Stopped");
  expect(await filesOf(machine)).toEqual([]);
});

test("what a killed init has left does not stand in the way, and what is a cluster's does", async () => {
  const { places } = machine;
  await places.take();
  await writeFile(path.join(machine.at("masterIdentityDir"), "..", "half"), "");
  await places.take();
  expect((await filesOf(machine)).map((file) => path.basename(file))).toEqual(["init-unfinished"]);
  await places.clear();

  const authority = path.join(machine.at("caDir"), "ca.key");
  await writeFile(authority, "another cluster's");
  await expect(initCluster(await planWith(), partsOf(machine))).rejects.toThrow(/belongs to a cluster/);
  expect(await readFile(authority, "utf8")).toBe("another cluster's");
  await places.clear();
});

test("a cluster of one machine serves its first user, by its first node's agent, and is not made twice", {
  timeout: 120_000,
}, async () => {
  const plan = await planWith();
  await initCluster(plan, partsOf(machine));

  expect(machine.runningDaemons).toBe(4);
  const [user = "", password = ""] = (await readFile(machine.at("adminCredentialsFile"), "utf8")).trim().split(" ");
  const ca = await readFile(path.join(machine.at("caDir"), "ca.pem"));
  using client = new RapiClient({ host: ADDRESS, port: plan.ports.rapi, ca, user, password });
  expect(await client.call("GET", "/2/info")).toMatchObject({
    name: "cluster.example.com",
    master: "node1.example.com",
    enabled_hypervisors: ["fake"],
    master_netdev: "lo",
    enabled_disk_templates: ["file", "diskless"],
  });
  expect(await client.call("GET", "/2/nodes", { query: { bulk: 1 } })).toMatchObject([
    { name: "node1.example.com", role: "M", pip: ADDRESS, mtotal: expect.any(Number) },
  ]);
  // An operation goes all the way: ledger, locks, agent.
  const job = (await client.call("POST", "/2/instances", {
    body: {
      __version__: 1,
      mode: "create",
      instance_name: "first.example.com",
      disk_template: "file",
      disks: [{ size: 1024 }],
      nics: [{}],
      os_type: "noop",
      pnode: "node1.example.com",
      name_check: false,
      ip_check: false,
      no_install: true,
    },
  })) as number;
  expect(await client.jobs.wait(job)).toMatchObject({ status: "success", opresult: [["node1.example.com"]] });

  for (const secret of ["adminCredentialsFile", "usersFile", "redisPasswordFile", "redisConfigFile"] as const)
    expect((await stat(machine.at(secret))).mode & 0o077, secret).toBe(0);
  expect(await readFile(machine.at("usersFile"), "utf8")).not.toContain(password);
  expect((await stat(path.join(machine.at("caDir"), "ca.key"))).mode & 0o077).toBe(0);
  expect(await filesOf(machine)).not.toContain(machine.places.at(`${SYSTEM_LAYOUT.dataDir}/init-unfinished`));

  await expect(initCluster(plan, partsOf(machine))).rejects.toThrow(/belongs to a cluster/);
  expect(machine.runningDaemons).toBe(4);
  expect(await client.call("GET", "/2/info")).toMatchObject({ name: "cluster.example.com" });
});
