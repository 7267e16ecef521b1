/**
 * Debian's htools, unchanged, read the cluster by the remote API and plan with it: what hbal, hspace, hroller and the
 * others say has to make sense of our nodes' and instances' fields.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { type DocumentedProxy, startDocumentedProxy } from "./documented-proxy.ts";

const HTOOLS = "/usr/bin/hbal";
const INSTANCES = ["a", "b", "c", "d"].map((name) => `${name}.gannet.test`);

if (!existsSync(HTOOLS)) console.log("skipped: ganeti-htools is not installed");

describe.skipIf(!existsSync(HTOOLS))("Debian's htools over the remote API", () => {
  let cluster: OneMachineCluster;
  let proxy: DocumentedProxy;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gannet-htools-"));
    cluster = await OneMachineCluster.start({ nodes: 3, env: { GANNET_STORAGE: "simulated" } });
    proxy = await startDocumentedProxy(cluster);
    // All on two of three nodes.
    for (const name of INSTANCES)
      await cluster.succeed("POST", "/2/instances", {
        __version__: 1,
        mode: "create",
        instance_name: name,
        disk_template: "drbd",
        disks: [{ size: 128 }],
        nics: [{}],
        os_type: "noop",
        hypervisor: "fake",
        pnode: "node1.gannet.test",
        snode: "node2.gannet.test",
      });
  }, 300_000);
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  const address = () => `https://${cluster.user}:${cluster.password}@127.0.0.1:${proxy.port}`;

  /** @returns what it printed */
  async function htool(name: string, ...args: readonly string[]): Promise<string> {
    const child = spawn(`/usr/bin/${name}`, args);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(code, `${name}: ${stdout}${stderr}`).toBe(0);
    expect(proxy.faults).toEqual(new Set());
    return stdout;
  }

  test("hinfo and hcheck find the nodes, and no instance on a bad place", async () => {
    const info = await htool("hinfo", "-m", address());
    expect(info).toMatch(/^Loaded 3 nodes, 4 instances, 1 node group$/m);
    expect(info).toMatch(/^Cluster is N\+1 happy$/m);
    expect(await htool("hcheck", "-m", address(), "--no-simulation")).toContain("Nodes not N+1 happy: 0");
  });

  test("hbal wants instances on the node that has none", async () => {
    const plan = await htool("hbal", "-m", address(), "-C", "--ignore-dynu");
    expect(plan).toMatch(/gnt-instance replace-disks -n node3 [a-d]$/m);
    expect(plan).toMatch(/^Cluster score improved from/m);
  });

  test("hspace counts how many more would fit", async () => {
    const answer = await htool("hspace", "-m", address(), "--machine-readable=yes", "--disk-template", "drbd");
    expect(Number(/^HTS_INI_INST_CNT="?(\d+)/m.exec(answer)?.[1])).toBe(INSTANCES.length);
    expect(Number(/^HTS_FIN_INST_CNT="?(\d+)/m.exec(answer)?.[1])).toBeGreaterThan(INSTANCES.length);
  });

  test("hroller does not reboot both nodes of an instance at once", async () => {
    const groups = (await htool("hroller", "-m", address(), "--no-headers")).trim().split("\n");
    const of = (name: string) => groups.findIndex((group) => group.split(",").includes(name));
    expect(of("node1.gannet.test")).toBeGreaterThanOrEqual(0);
    expect(of("node2.gannet.test")).toBeGreaterThanOrEqual(0);
    expect(of("node1.gannet.test")).not.toBe(of("node2.gannet.test"));
  });

  test("hscan writes down what hsqueeze plans with", async () => {
    await htool("hscan", "-d", folder, address());
    const [file = ""] = (await readdir(folder)).filter((name) => name.endsWith(".data"));
    expect(await readFile(path.join(folder, file), "utf8")).toContain(INSTANCES[0]);
    await htool("hsqueeze", "-t", path.join(folder, file), "-C");
  });
});
