/** The agent's process: what its configuration turns on, keeps and forgets. */
import { readdir } from "node:fs/promises";
import path from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { clientOf, createTestCluster, instance, step, type TestCluster } from "../agent-fixture.ts";
import { type AgentProcess, agentFolders, configurationOf, startAgentProcess } from "../process/agent-process.ts";
import { ADDRESSES, ask, COMMUNICATION_NIC, freePort, OWN_PARAMETERS, SERVICE_ADDRESS } from "./guest-requests.ts";

let cluster: TestCluster;
let agent: AgentProcess | undefined;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
afterEach(() => agent?.end());

test("a guest that outlives its agent is still answered, until the service is turned off; no log has its parameters", async () => {
  const folders = await agentFolders(cluster, "node");
  const port = await freePort();
  const lines: unknown[] = [];
  const start = async (enabled: boolean): Promise<number> => {
    agent = await startAgentProcess(cluster, {
      ...configurationOf(cluster, folders),
      log: { level: "trace" },
      metadata: { enabled, address: SERVICE_ADDRESS, port },
    });
    return agent.ready();
  };
  const kill = async () => {
    await agent?.end();
    lines.push(...(agent?.lines ?? []), agent?.stderr);
  };
  const read = async () => JSON.parse((await ask(port, ADDRESSES[0], "/ganeti/latest/os/parameters.json")).body);

  const client = clientOf(cluster, await start(true));
  const guest = instance({ disks: [], nics: [COMMUNICATION_NIC] });
  await client.instances.start({ step: step(), instance: guest, paused: false });
  client.close();
  expect(await read()).toEqual(OWN_PARAMETERS);
  await kill();
  await start(true);
  expect(await read()).toEqual(OWN_PARAMETERS);
  await kill();
  expect(await readdir(path.join(folders.stateDir, "metadata"))).toHaveLength(1);
  await start(false);
  await expect(read()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  expect(await readdir(folders.stateDir)).not.toContain("metadata");
  await kill();
  expect(JSON.stringify(lines)).toContain("metadata asked for");
  expect(JSON.stringify(lines)).not.toContain("whisper");
});
