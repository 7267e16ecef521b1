/** The process beside the agent, both as they are: it stops the guests of an agent that is dead or stands still. */
import { readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { isHeld } from "@gannet/exec";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { clientOf, createTestCluster, instance, step, type TestCluster } from "../agent-fixture.ts";
import { AgentProcess, agentFolders, configurationOf } from "../process/agent-process.ts";

const LEASE_MS = 3_000;
const WAIT = { timeout: 30_000, interval: 50 };

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());

test.concurrent.each([
  ["is killed", "SIGKILL"],
  ["stands still", "SIGSTOP"],
] as const)(
  "an agent that %s: its guests are stopped in its place, and nothing is left of the process",
  async (_how, signal) => {
    const folders = await agentFolders(cluster, signal);
    const { stateDir } = folders;
    const configFile = path.join(stateDir, "agent.json");
    await writeFile(
      configFile,
      JSON.stringify({ ...configurationOf(cluster, folders), selfFence: { stopWithinS: 4 } }),
    );
    const agent = new AgentProcess(configFile);
    const client = clientOf(cluster, await agent.ready());
    const records = async () =>
      (await readdir(path.join(stateDir, "fake-hypervisor/guests"))).filter((name) => name.endsWith(".json"));
    await client.instances.start({ step: step(), instance: instance({ disks: [] }), paused: false });
    expect(await records()).toHaveLength(1);

    let ticket = "";
    await vi.waitFor(async () => {
      const reply = await client.node.renewSelfFence({ epoch: 1, timeoutMs: LEASE_MS, ticket });
      ({ ticket } = reply);
      expect(reply).toMatchObject({ guarded: true, stopWithinMs: 4_000 });
    }, WAIT);
    expect(await isHeld(stateDir, "self-fence", 10_000)).toBe(true);
    const begun = performance.now();
    agent.signal(signal);
    client.close();
    await vi.waitFor(async () => expect(await records()).toEqual([]), WAIT);
    const tookMs = performance.now() - begun;
    console.log(
      `self-fence, agent got ${signal}: guests stopped ${Math.round(tookMs)} ms later (lease ${LEASE_MS} ms, 4000 ms to stop)`,
    );
    // The agent that stood still is killed.
    expect(await agent.exited).toEqual([null, "SIGKILL"]);
    await vi.waitFor(async () => expect(await isHeld(stateDir, "self-fence", 10_000)).toBe(false), WAIT);
  },
);
