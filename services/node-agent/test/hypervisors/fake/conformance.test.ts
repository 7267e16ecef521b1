import { writeFile } from "node:fs/promises";
import path from "node:path";
import { HYPERVISOR_CHECKS, type HypervisorSubject } from "@gannet/driver-contract/conformance";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterAll, beforeAll, describe, it } from "vitest";
import { FakeHypervisor } from "../../../src/hypervisors/fake/fake-hypervisor.ts";
import { bareGuest, makeTestNode, type TestNode } from "../node-fixture.ts";

describe("the fake hypervisor", () => {
  let node: TestNode;
  let subject: HypervisorSubject;

  beforeAll(async () => {
    node = await makeTestNode({});
    const faults = path.join(node.parts.stateDir, "fake-hypervisor/faults.json");
    const guest = (name: string) => bareGuest(name, "fake", HYPERVISOR_DEFAULTS.fake);
    subject = {
      open: async () => new FakeHypervisor(node.parts),
      guest,
      failingGuest: (name) => ({ ...guest(name), hvparams: { migration_mode: "never" } }),
      crash: (name) => writeFile(faults, JSON.stringify({ faults: [{ operation: "crash", guest: name, times: 1 }] })),
      leftovers: () => node.files(),
    };
  });
  afterAll(() => node.remove());

  for (const check of HYPERVISOR_CHECKS) it(check.name, () => check.run(subject));
});
