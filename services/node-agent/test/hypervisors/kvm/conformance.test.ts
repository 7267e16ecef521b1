import { readFile } from "node:fs/promises";
import path from "node:path";
import { HYPERVISOR_CHECKS, type HypervisorSubject } from "@gannet/driver-contract/conformance";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterAll, beforeAll, describe, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { bareGuest, makeTestNode, type TestNode } from "../node-fixture.ts";

describe("the kvm hypervisor, with real qemu under TCG", () => {
  let node: TestNode;
  let subject: HypervisorSubject;

  beforeAll(async () => {
    node = await makeTestNode({ kvmAcceleration: "off" });
    subject = {
      open: async () => new KvmHypervisor(node.parts),
      guest: (name) => bareGuest(name, "kvm", HYPERVISOR_DEFAULTS.kvm),
      failingGuest: (name) =>
        bareGuest(name, "kvm", { ...HYPERVISOR_DEFAULTS.kvm, kvm_extra: "-device no-such-device" }),
      crash: async (name) => {
        const pidFile = path.join(node.parts.stateDir, "kvm-hypervisor/pid", name);
        process.kill(Number(await readFile(pidFile, "utf8")), "SIGKILL");
      },
      leftovers: async () => [...(await node.files()), ...(await node.processes()).map(({ command }) => command)],
    };
  });
  afterAll(() => node.remove());

  for (const check of HYPERVISOR_CHECKS) it(check.name, () => check.run(subject));
});
