/** A real agent over mutual TLS: what its guests read follows what leaders do with them. */
import path from "node:path";
import { HotplugRequest_Action, type Nic } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import {
  createTestCluster,
  guestState,
  instance,
  startTestAgent,
  step,
  type TestAgent,
  type TestCluster,
} from "../agent-fixture.ts";
import {
  ADDRESSES,
  ask,
  freePort,
  COMMUNICATION_NIC as NIC,
  OWN_PARAMETERS as OWN,
  SERVICE_ADDRESS,
} from "./guest-requests.ts";

const [ADDRESS] = ADDRESSES;
const GUEST = instance({ disks: [], nics: [{ ...NIC, name: "", metadata: undefined, ip: "" }, NIC] });
const { name, hypervisor } = GUEST;

let cluster: TestCluster;
let agent: TestAgent;
let port: number;
let rounds = 0;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  port = await freePort();
  rounds += 1;
  const folder = path.join(cluster.root, `metadata-${rounds}`);
  agent = await startTestAgent(cluster, {
    leadersFolder: path.join(cluster.root, `leaders-${rounds}`),
    metadata: { address: SERVICE_ADDRESS, port, folder, claimAddress: async () => {} },
  });
});
afterEach(() => agent.stop());

const parameters = async () => {
  const { status, body } = await ask(port, ADDRESS, "/ganeti/latest/os/parameters.json");
  return status === 200 ? JSON.parse(body) : status;
};
const stop = { name, hypervisor, force: true, timeoutMs: 0 };

it("comes with a guest's start, lasts through its reboot, and goes with its stop", async () => {
  const { instances } = agent.client;
  expect(await parameters()).toBe(404);
  await instances.start({ step: step(), instance: GUEST, paused: false });
  expect(await parameters()).toEqual(OWN);
  agent.hypervisor.reboot.mockImplementation(async () => {
    const state = agent.hypervisor.guests.get(name);
    agent.hypervisor.notice(name, undefined);
    // The driver's news have been looked at: nothing is known of the guest now.
    await expect.poll(parameters).toBe(404);
    if (state === undefined) throw new Error("the guest was not there");
    agent.hypervisor.notice(name, state);
    return state;
  });
  await instances.reboot({ step: step(), ...stop });
  expect(await parameters()).toEqual(OWN);
  await instances.stop({ step: step(), ...stop });
  expect(await parameters()).toBe(404);
});

it("is no part of what drivers are given and keep", async () => {
  await agent.client.instances.start({ step: step(), instance: GUEST, paused: false });
  expect(JSON.stringify(agent.hypervisor.start.mock.calls)).not.toContain("whisper");
});

it("comes with another start as it is then", async () => {
  const { instances } = agent.client;
  await instances.start({ step: step(), instance: GUEST, paused: false });
  await instances.start({ step: step(), instance: { ...GUEST, nics: [] }, paused: false });
  expect(await parameters()).toBe(404);
});

it("is refused for a NIC without an address of the guest's own", async () => {
  const nics = [{ ...NIC, ip: "" }];
  await expect(
    agent.client.instances.start({ step: step(), instance: { ...GUEST, nics }, paused: false }),
  ).rejects.toThrow(/NIC.ip/);
});

it("comes and goes with the NIC of a running guest", async () => {
  const unplugged = Object.assign(agent.hypervisor, {
    ...{ checkHotplug: async () => {}, plug: async () => {}, unplug: async () => {}, replug: async () => {} },
    resizeDisk: async () => {},
  });
  const { instances } = agent.client;
  await instances.start({ step: step(), instance: { ...GUEST, nics: [] }, paused: false });
  const change = (action: HotplugRequest_Action, nic: Nic) =>
    instances.hotplug({ step: step(), name, hypervisor, action, device: { $case: "nic", value: nic }, index: 0 });
  await change(HotplugRequest_Action.ACTION_ADD, NIC);
  expect(await parameters()).toEqual(OWN);
  await change(HotplugRequest_Action.ACTION_ADD, { ...NIC, ip: "192.0.2.7", metadata: undefined });
  await change(HotplugRequest_Action.ACTION_REMOVE, { ...NIC, ip: "192.0.2.7", metadata: undefined });
  expect(await parameters(), "another NIC is none of it").toEqual(OWN);
  await change(HotplugRequest_Action.ACTION_REMOVE, NIC);
  expect(await parameters()).toBe(404);
  expect(unplugged.guests.has(name)).toBe(true);
});

it("comes and goes with a guest's migration", async () => {
  Object.assign(agent.hypervisor, {
    ...{ migrationInfo: async () => "", acceptMigration: async () => 1, migrate: async function* () {} },
    finishMigrationSource: async () => {},
    finishMigrationTarget: async () => {
      agent.hypervisor.guests.set(name, guestState(name));
    },
  });
  const { instances } = agent.client;
  await instances.finishMigrationTarget({ step: step(), instance: GUEST, succeeded: true });
  expect(await parameters()).toEqual(OWN);
  await instances.finishMigrationSource({ step: step(), name, hypervisor, succeeded: false });
  expect(await parameters(), "it has stayed").toEqual(OWN);
  await instances.finishMigrationSource({ step: step(), name, hypervisor, succeeded: true });
  expect(await parameters()).toBe(404);
  await instances.finishMigrationTarget({ step: step(), instance: GUEST, succeeded: false });
  expect(await parameters(), "it has not come").toBe(404);
});
