import { writeFileSync } from "node:fs";
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
  });
  afterAll(() => node.remove());

  for (const check of HYPERVISOR_CHECKS) it(check.name, () => check.run(subject));
});
