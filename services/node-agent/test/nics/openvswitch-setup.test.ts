import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createOpenvswitchSetup } from "../../src/nics/openvswitch-setup.ts";

const { signal } = new AbortController();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-ovs-"));
});
afterEach(() => rm(folder, { recursive: true }));

const setUp = (wanted: { readonly name: string; readonly link: string }) =>
  createOpenvswitchSetup({
    runner: createCommandRunner({ logger: silentLogger() }),
    tools: { ovsVsctl: path.join(folder, "ovs-vsctl") },
  }).configure(wanted, signal);

async function tool(script: string): Promise<void> {
  await writeFile(path.join(folder, "ovs-vsctl"), `#!/bin/sh\n${script}\n`);
  await chmod(path.join(folder, "ovs-vsctl"), 0o755);
}

test("makes the switch with its link in one transaction, and without one alone", async () => {
  await tool(`echo "$@" >> ${folder}/noted`);
  await setUp({ name: "switch1", link: "eth1" });
  await setUp({ name: "switch2", link: "" });
  expect(await readFile(path.join(folder, "noted"), "utf8")).toBe(
    "--may-exist add-br switch1 -- --may-exist add-port switch1 eth1\n--may-exist add-br switch2\n",
  );
});

test("tells what Open vSwitch says, and that it is missing", async () => {
  await expect(setUp({ name: "switch1", link: "" })).rejects.toThrow(/there is no .*ovs-vsctl.*install Open vSwitch/);
  await tool("echo 'database connection failed' >&2; exit 1");
  await expect(setUp({ name: "switch1", link: "" })).rejects.toThrow(/switch1 cannot be set up.*database connection/s);
});
