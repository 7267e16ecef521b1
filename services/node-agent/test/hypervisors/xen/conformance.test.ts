import { BALLOONING_CHECKS, SAVING_CHECKS } from "@gannet/driver-contract/conformance";
import { afterAll, beforeAll, describe, it } from "vitest";
import { crashDomain } from "../../../../../test/simulated-tools/xen/state.ts";
import { type LocalHypervisor, testConformance } from "../served-hypervisor.ts";
import { makeXenNode, type XenNode } from "./xen-fixture.ts";

/** More than the simulated machine has. */
const TOO_MUCH_MIB = 1_000_000;

describe.each(["xen-pvm", "xen-hvm"] as const)("%s, with a simulated xl", (hypervisor) => {
  let xen: XenNode;
  let subject: LocalHypervisor;

  beforeAll(async () => {
    xen = await makeXenNode();
    subject = {
      open: async () => xen.driver(hypervisor),
      guest: (name) => xen.guest(hypervisor, name),
      failingGuest: (name) => ({
        ...xen.guest(hypervisor, name),
        startMemoryMib: TOO_MUCH_MIB,
        maxMemoryMib: TOO_MUCH_MIB,
      }),
      crash: (name) => crashDomain(xen.folder, name),
      leftovers: () => xen.leftovers(),
    };
  });
  afterAll(() => xen.node.remove());

  testConformance(() => subject);

  for (const check of BALLOONING_CHECKS)
    it(check.name, () =>
      check.run({
        open: async () => xen.driver(hypervisor),
        guest: (name) => xen.guest(hypervisor, name),
        ready: async () => {},
        leftovers: () => xen.leftovers(),
      }),
    );

  for (const check of SAVING_CHECKS)
    it(check.name, () =>
      check.run({
        open: async () => xen.driver(hypervisor),
        guest: (name) => xen.guest(hypervisor, name),
        leftovers: () => xen.leftovers(),
      }),
    );
});
