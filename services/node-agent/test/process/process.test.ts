import { once } from "node:events";
import { readdir, readFile, stat } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import path from "node:path";
import { connect as connectTls } from "node:tls";
import { NodeUnreachable, OpExecError, StaleEpoch } from "@gannet/errors";
import type { NodeClient } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { clientOf, createTestCluster, disk, instance, NODE, step, type TestCluster } from "../agent-fixture.ts";
import {
  type AgentFolders,
  AgentProcess,
  agentFolders,
  configurationOf,
  startAgentProcess,
  writeOs,
} from "./agent-process.ts";

let cluster: TestCluster;
let folders: AgentFolders;
let agents: AgentProcess[] = [];
let clients: NodeClient[] = [];
let runs = 0;

beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  runs += 1;
  folders = await agentFolders(cluster, `node-${runs}`);
});
afterEach(async () => {
  for (const client of clients) client.close();
  for (const agent of agents) await agent.end();
  clients = [];
  agents = [];
});

async function start(changes: object = {}): Promise<{ agent: AgentProcess; client: NodeClient; port: number }> {
  const agent = await startAgentProcess(cluster, { ...configurationOf(cluster, folders), ...changes });
  agents.push(agent);
  const port = await agent.ready();
  const client = clientOf(cluster, port);
  clients.push(client);
  return { agent, client, port };
}

const isRunning = async (pid: string) =>
  readFile(`/proc/${pid}/stat`, "utf8").then(
    (text) => !/\) Z /.test(text),
    () => false,
  );
const pidIn = (file: string) =>
  vi.waitFor(
    async () => {
      const text = await readFile(file, "utf8");
      expect(text).toMatch(/^\d+\n$/);
      return text.trim();
    },
    { timeout: 10_000 },
  );
const realDisk = () => disk({ logicalId: ["loop", path.join(folders.fileStorage, "web1/disk0")] });

const realInstance = () => instance({ disks: [realDisk()] });
const osCreate = (name: string, os: string) => ({
  ...{ step: step({ step: name }), instance: realInstance(), os, parameters: {}, reinstall: false, debugLevel: 0 },
  ...{ beparams: {}, ctime: 1.5, mtime: 2, primaryNodeUuid: "n1", secondaryNodeUuids: [] },
});

test("an instance's whole life on a node, and nothing is left of it", async () => {
  await writeOs(folders, "marker", '#!/bin/sh\nprintf installed > "$DISK_0_PATH"\n');
  const { client } = await start();
  await client.blockDevices.create({ step: step(), device: realDisk() });
  await client.os.validate({ os: "marker", forceVariant: false, parameters: {}, runVerifyScript: true });
  await client.os.create(osCreate("os-create", "marker"));
  expect((await readFile(path.join(folders.fileStorage, "web1/disk0"), "latin1")).startsWith("installed")).toBe(true);
  await client.instances.validate({ instance: realInstance() });
  const started = await client.instances.start({ step: step(), instance: realInstance(), paused: false });
  expect(started).toMatchObject({ status: "running", memoryMib: 256, vcpus: 2 });
  const stopRequest = { name: "web1.gannet.test", hypervisor: "fake", force: false, timeoutMs: 1_000 };
  expect(await client.instances.reboot({ step: step(), ...stopRequest })).toMatchObject({ status: "running" });
  await client.instances.stop({ step: step(), ...stopRequest });
  await client.blockDevices.shutdown({ step: step(), device: realDisk() });
  await client.blockDevices.remove({ step: step(), device: realDisk() });
  expect(await client.instances.state({ name: "web1.gannet.test", hypervisor: "fake" })).toMatchObject({
    status: "shutdown",
  });
  expect(await client.blockDevices.status({ device: realDisk() })).toEqual({ exists: false, sizeMib: 0 });
  expect(await readdir(folders.fileStorage)).toEqual([]);
});

describe("who may call", () => {
  test("the master; nobody in plaintext, without a certificate, or with a node's", async () => {
    const { client, port } = await start();
    expect((await client.node.describe({ knownStorage: false })).nodeName).toBe(NODE);

    const plain = connectTcp(port, "127.0.0.1");
    plain.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    plain.resume();
    await once(plain, "close");

    const tls = { port, host: "127.0.0.1", servername: NODE, ca: cluster.node.ca, ALPNProtocols: ["h2"] };
    const anonymous = connectTls(tls);
    await expect(once(anonymous, "close")).rejects.toThrow(/certificate required/);

    const otherNode = clientOf(cluster, port, cluster.node);
    clients.push(otherNode);
    await expect(otherNode.node.describe({ knownStorage: false }, { timeoutMs: 10_000 })).rejects.toThrow(
      /is not a master's/,
    );
  });
});

describe("an agent that is killed", () => {
  test("knows its epoch, its answers and its guests again, and repeats what was unfinished after ending what was left", async () => {
    const pids = path.join(folders.stateDir, "pids");
    await writeOs(
      folders,
      "slow",
      `#!/bin/sh\nif [ -e ${pids} ]; then exit 0; fi\nsleep 300 &\necho $! > ${pids}\nwait\n`,
    );
    const first = await start();
    const created = { step: step({ epoch: 5, step: "create-disk/0" }), device: realDisk() };
    await first.client.blockDevices.create(created);
    const started = { step: step({ epoch: 5, step: "start" }), instance: realInstance(), paused: false };
    const answer = await first.client.instances.start(started);
    const installing = { ...osCreate("os-create", "slow"), step: step({ epoch: 5, step: "os-create" }) };
    const interrupted = first.client.os.create(installing).catch((error: unknown) => error);
    const pid = await pidIn(pids);
    // The script may be quicker than the agent's note of it, without which nobody finds it again.
    await vi.waitFor(async () => expect(await readdir(path.join(folders.stateDir, "commands"))).not.toEqual([]));
    first.agent.signal("SIGKILL");
    expect(await interrupted).toBeInstanceOf(NodeUnreachable);
    expect(await isRunning(pid)).toBe(true);

    const second = await start();
    expect(await isRunning(pid)).toBe(false);
    expect(await second.client.instances.state({ name: "web1.gannet.test", hypervisor: "fake" })).toMatchObject({
      status: "running",
      uuid: instance().uuid,
    });
    await expect(second.client.blockDevices.remove({ step: step({ epoch: 4 }), device: realDisk() })).rejects.toThrow(
      StaleEpoch,
    );
    expect(await second.client.instances.start(started)).toEqual(answer);
    await vi.waitFor(() => expect(second.agent.lines.map(({ msg }) => msg)).toContain("step answered again"));
    expect(await second.client.os.create(installing)).toEqual({});
  });
});

describe("an agent that is asked to stop", () => {
  test("lets what runs end, answers it, takes nothing new, and guests go on", async () => {
    const { agent, client } = await start();
    await client.blockDevices.create({ step: step(), device: realDisk() });
    await client.instances.start({ step: step(), instance: realInstance(), paused: false });
    const delayed = client.node.delay({ step: step(), durationMs: 1_000 });
    await client.node.describe({ knownStorage: false });
    agent.signal("SIGTERM");
    await vi.waitFor(() => expect(agent.lines.some(({ msg }) => msg === "agent stopping")).toBe(true));
    expect(await delayed).toEqual({});
    expect(await agent.exited).toEqual([0, null]);
    const again = await start();
    expect(await again.client.instances.state({ name: "web1.gannet.test", hypervisor: "fake" })).toMatchObject({
      status: "running",
    });
  });

  test("aborts what takes longer than it may", async () => {
    const pids = path.join(folders.stateDir, "pids");
    await writeOs(folders, "endless", `#!/bin/sh\nsleep 300 &\necho $! > ${pids}\nwait\n`);
    const { agent, client } = await start({ stopTimeoutMs: 100 });
    await client.blockDevices.create({ step: step(), device: realDisk() });
    const installing = client.os.create(osCreate("os-create", "endless")).catch((error: unknown) => error);
    const pid = await pidIn(pids);
    agent.signal("SIGTERM");
    expect(await agent.exited).toEqual([0, null]);
    expect(await isRunning(pid)).toBe(false);
    expect(await installing).toBeInstanceOf(Error);
  });
});

describe("an agent that cannot start says why in one line", () => {
  const cases: readonly (readonly [string, (base: ReturnType<typeof configurationOf>) => object | string, RegExp])[] = [
    ["a wrong setting", (base) => ({ ...base, stateDir: "relative" }), /stateDir: must be an absolute path/],
    ["another node's certificate", (base) => ({ ...base, nodeName: "node2.gannet.test" }), /not for node2.gannet.test/],
    ["no certificate", (base) => ({ ...base, pkiDir: "/nonexistent" }), /certificate in \/nonexistent cannot be read/],
    [
      "a state folder that cannot be made",
      (base) => ({ ...base, stateDir: "/etc/passwd/gannet" }),
      /state folder \/etc\/passwd\/gannet cannot be made/,
    ],
    [
      "an address that is not this machine's",
      (base) => ({ ...base, listen: { host: "192.0.2.1", port: 0 } }),
      /192.0.2.1/,
    ],
  ];
  test.each(cases)("%s", async (_what, change, message) => {
    const agent = await startAgentProcess(cluster, change(configurationOf(cluster, folders)) as never);
    agents.push(agent);
    const [code] = await agent.exited;
    expect(code).toBe(1);
    expect(agent.stderr).toMatch(message);
    expect(agent.stderr).toMatch(/^gannet-node-agent: [^\n]+\n$/);
  });

  test("no configuration", async () => {
    const agent = new AgentProcess(undefined);
    agents.push(agent);
    expect(await agent.exited).toEqual([1, null]);
    expect(agent.stderr).toBe("gannet-node-agent: give the configuration: --config <file>\n");
  });

  test("a state folder that another agent holds", async () => {
    await start();
    const second = await startAgentProcess(cluster, configurationOf(cluster, folders));
    agents.push(second);
    expect(await second.exited).toEqual([1, null]);
    expect(second.stderr).toMatch(/Another agent is running with the state folder/);
  });
});

test("the state folder and what is in it is the agent's alone", async () => {
  const { client } = await start();
  await client.blockDevices.create({ step: step(), device: realDisk() });
  const leaders = path.join(folders.stateDir, "leaders");
  const [authority] = await readdir(leaders);
  for (const file of await readdir(path.join(leaders, String(authority)))) {
    expect((await stat(path.join(leaders, String(authority), file))).mode & 0o077).toBe(0);
  }
});

test("an OS script that fails is the error its caller gets, with the script's last words", async () => {
  await writeOs(folders, "broken", "#!/bin/sh\necho cannot find a mirror >&2\nexit 3\n");
  const { client } = await start();
  await client.blockDevices.create({ step: step(), device: realDisk() });
  const error: unknown = await client.os.create(osCreate("os-create", "broken")).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(OpExecError);
  expect(error).toMatchObject({ message: expect.stringMatching(/exit code 3.*cannot find a mirror/s) });
});
