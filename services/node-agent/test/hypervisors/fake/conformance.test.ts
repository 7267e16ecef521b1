import { writeFileSync } from "node:fs";
import path from "node:path";
import {
  BALLOONING_CHECKS,
  type BallooningConformanceDriver,
  type ChangingSubject,
  HOTPLUG_CHECKS,
  type HotplugSubject,
  MIGRATION_CHECKS,
  type MigrationNode,
} from "@gannet/driver-contract/conformance";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterAll, beforeAll, describe, it } from "vitest";
import { FakeHypervisor } from "../../../src/hypervisors/fake/fake-hypervisor.ts";
import { DISK, NIC } from "../kvm/plan-fixture.ts";
import { bareGuest, makeTestNode, type TestNode } from "../node-fixture.ts";
import { type LocalHypervisor, testConformance } from "../served-hypervisor.ts";

describe("the fake hypervisor", () => {
  let node: TestNode;
  let other: TestNode;
  let subject: LocalHypervisor;
  let changing: HotplugSubject & ChangingSubject<BallooningConformanceDriver>;
  let nodes: readonly [MigrationNode, MigrationNode];

  beforeAll(async () => {
    node = await makeTestNode({});
    const script = path.join(node.parts.stateDir, "fake-hypervisor/faults.json");
    const order = (fault: object) => writeFileSync(script, JSON.stringify({ faults: [{ ...fault, times: 1 }] }));
    const guest = (name: string) => bareGuest(name, "fake", HYPERVISOR_DEFAULTS.fake);
    subject = {
      open: async () => new FakeHypervisor(node.parts),
      guest,
      failingGuest: (name) => {
        order({ operation: "start", guest: name, error: "no luck" });
        return guest(name);
      },
      crash: async (name) => order({ operation: "crash", guest: name }),
      leftovers: () => node.files(),
    };
    other = await makeTestNode({});
    changing = {
      open: async () => new FakeHypervisor(node.parts),
      guest: (name) => ({ ...guest(name), maxMemoryMib: 64, startMemoryMib: 64 }),
      ready: async () => {},
      device: async (kind) =>
        kind === "disk" ? { kind, disk: { ...DISK, path: "/disk0" } } : { kind, nic: { ...NIC, mode: "user" } },
      leftovers: () => node.files(),
    };
    const migrating = (at: TestNode, nodeName: string): MigrationNode => ({
      open: async () => new FakeHypervisor(at.parts),
      leftovers: () => at.files(),
      nodeName,
      address: "127.0.0.1",
    });
    nodes = [migrating(node, "node1.example"), migrating(other, "node2.example")];
  });
  afterAll(async () => {
    await node.remove();
    await other.remove();
  });

  testConformance(() => subject);
  for (const check of BALLOONING_CHECKS) it(check.name, () => check.run(changing));
  for (const check of HOTPLUG_CHECKS) it(check.name, () => check.run(changing));
  for (const check of MIGRATION_CHECKS) {
    const guest = (name: string) => bareGuest(name, "fake", HYPERVISOR_DEFAULTS.fake);
    it(check.name, () => check.run({ source: nodes[0], target: nodes[1], guest }));
  }
});
