/** The cluster's address over the agent's real server, with the system's own `ip` in a network of its own. */
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { addArgv, announceArgv } from "../../src/master-address/address-commands.ts";
import { SYSTEM_ADDRESS_TOOLS } from "../../src/master-address/master-address.ts";
import { createTestCluster, startTestAgent, step, type TestAgent, type TestCluster } from "../agent-fixture.ts";
import { type PrivateNetwork, privateNetwork } from "./private-network.ts";

const V4 = { address: "192.0.2.10", netmask: 24, netdev: "lo" };
const V6 = { address: "2001:db8::10", netmask: 64, netdev: "lo" };
const LOOPBACK = ["127.0.0.1/8 lo", "::1/128 lo"];

let cluster: TestCluster;
let folder: string;
let network: PrivateNetwork;
let agent: TestAgent;
let taken: string[];
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-address-"));
  network = await privateNetwork(folder);
  taken = [];
  const arping = await program("arping", `echo "$*" >> ${folder}/announced`);
  agent = await startTestAgent(cluster, {
    leadersFolder: path.join(folder, "leaders"),
    masterAddress: {
      tools: { ip: network.ip, arping, ndisc6: path.join(folder, "no-such-tool") },
      scriptFolder: folder,
      isElsewhere: async (address) => taken.includes(address),
    },
  });
});
afterEach(async () => {
  await agent.stop();
  network[Symbol.dispose]();
  await rm(folder, { recursive: true });
});

async function program(name: string, text: string, mode = 0o755): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, `#!/bin/sh\n${text}\n`);
  await chmod(file, mode);
  return file;
}

const request = (address = V4, useExternalScript = false) => ({ step: step(), address, useExternalScript });
const up = (address = V4) => agent.client.node.activateMasterAddress(request(address));
const down = (address = V4) => agent.client.node.deactivateMasterAddress(request(address));

describe("activation", () => {
  it("adds the address with its netmask once, and tells the network", async () => {
    await up();
    await up();
    expect(await network.addresses()).toEqual(expect.arrayContaining(["192.0.2.10/24 lo", ...LOOPBACK]));
    expect(await network.addresses()).toHaveLength(3);
    expect(await readFile(path.join(folder, "announced"), "utf8")).toBe("-q -U -c 3 -I lo -s 192.0.2.10 192.0.2.10\n");
  });

  it("takes IPv6, and needs no tool that announces", async () => {
    await up(V6);
    expect(await network.addresses()).toContain("2001:db8::10/64 lo");
  });

  it("is refused while another machine has the address", async () => {
    taken = [V4.address];
    await expect(up()).rejects.toMatchObject({ code: "environment_error" });
    expect(await network.addresses()).toHaveLength(LOOPBACK.length);
  });

  it("leaves an address alone that the node has by other means", async () => {
    await up({ ...V4, address: "127.0.0.1", netmask: 32 });
    expect(await network.addresses()).toEqual(LOOPBACK);
  });

  it.each([
    { ...V4, netmask: 33 },
    { ...V4, netmask: 0 },
    { ...V4, netdev: "-x" },
    { ...V4, netdev: "" },
    { ...V4, address: "cluster.gnt.test" },
  ])("refuses %j", async (address) => {
    await expect(up(address)).rejects.toBeInstanceOf(OpPrereqError);
  });
});

describe("deactivation", () => {
  it("removes the address, and succeeds without it", async () => {
    await up();
    await down();
    await down();
    expect(await network.addresses()).toEqual(LOOPBACK);
  });

  it("removes it with whatever netmask it has", async () => {
    await up();
    await down({ ...V4, netmask: 16 });
    expect(await network.addresses()).toEqual(LOOPBACK);
  });

  it("never takes an address that is the node's by other means, or is on another interface", async () => {
    await down({ address: "127.0.0.1", netmask: 8, netdev: "lo" });
    await up();
    await down({ ...V4, netdev: "eth9" });
    expect(await network.addresses()).toEqual(expect.arrayContaining(["192.0.2.10/24 lo", ...LOOPBACK]));
  });
});

describe("a change of the netmask", () => {
  const change = (newNetmask: number, address = V4) =>
    agent.client.node.changeMasterNetmask({ step: step(), address, newNetmask });

  it("leaves the address with the new one alone", async () => {
    await up();
    await change(16);
    await change(16);
    expect(await network.addresses()).toEqual(expect.arrayContaining(["192.0.2.10/16 lo", ...LOOPBACK]));
    expect(await network.addresses()).toHaveLength(3);
    await down();
    expect(await network.addresses()).toEqual(LOOPBACK);
  });

  it("is refused where the address is not up, and of one that is the node's by other means", async () => {
    await expect(change(16)).rejects.toMatchObject({ code: "wrong_state" });
    await expect(change(24, { address: "127.0.0.1", netmask: 8, netdev: "lo" })).rejects.toMatchObject({
      code: "wrong_state",
    });
    expect(await network.addresses()).toEqual(LOOPBACK);
  });
});

describe("the site's script", () => {
  const byScript = () => agent.client.node.activateMasterAddress(request(V4, true));

  it("does it instead, told the address in its environment", async () => {
    await program(
      "master-ip-setup",
      `echo "$* $MASTER_IP $MASTER_NETMASK $MASTER_NETDEV $CLUSTER_IP_VERSION [$HOME]" >> ${folder}/calls`,
    );
    await byScript();
    await agent.client.node.deactivateMasterAddress(request(V6, true));
    expect(await readFile(path.join(folder, "calls"), "utf8")).toBe(
      "start 192.0.2.10 24 lo 4 []\nstop 2001:db8::10 64 lo 6 []\n",
    );
    expect(await network.addresses()).toEqual(LOOPBACK);
  });

  it("fails the call when it fails, and is not run where others could have written it", async () => {
    await expect(byScript()).rejects.toMatchObject({ code: "environment_error" });
    await program("master-ip-setup", "true", 0o777);
    await expect(byScript()).rejects.toMatchObject({ code: "environment_error" });
    await program("master-ip-setup", "echo no route here >&2; exit 1");
    await expect(byScript()).rejects.toThrow(/no route here/);
  });
});

describe("command lines", () => {
  it("label IPv4 addresses where the label fits", () => {
    expect(addArgv(SYSTEM_ADDRESS_TOOLS, { ...V4, netdev: "eth0" }).join(" ")).toBe(
      "/sbin/ip address add 192.0.2.10/24 dev eth0 label eth0:0 preferred_lft 0",
    );
    expect(addArgv(SYSTEM_ADDRESS_TOOLS, { ...V4, netdev: "enp0s31f6.1234" })).not.toContain("label");
    expect(addArgv(SYSTEM_ADDRESS_TOOLS, V6)).not.toContain("label");
  });

  it("announce IPv6 addresses with ndisc6", () => {
    expect(announceArgv(SYSTEM_ADDRESS_TOOLS, { ...V6, netdev: "eth0" }).join(" ")).toBe(
      "/usr/bin/ndisc6 -q -r 3 2001:db8::10 eth0",
    );
  });
});
