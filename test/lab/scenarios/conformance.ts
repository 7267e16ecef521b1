/** The conformance suites of libs/driver-contract over gRPC, against real devices and real guests. */
import { BLOCK_DEVICE_CHECKS, HYPERVISOR_CHECKS } from "@gannet/driver-contract/conformance";
import { remoteBlockDevices } from "../conformance/remote-block-devices.ts";
import {
  type GuestKind,
  KVM_GUESTS,
  LXC_GUESTS,
  remoteHypervisor,
  XEN_GUESTS,
} from "../conformance/remote-hypervisor.ts";
import { remoteMirror } from "../conformance/remote-mirror.ts";
import { RemoteNode } from "../conformance/remote-node.ts";
import type { Lab } from "../lab.ts";
import type { Scenario } from "../scenario.ts";
import { twoNodes } from "./pairs.ts";

const BLOCK_DEVICES: readonly Scenario[] = (["file", "sharedfile", "plain"] as const).map((template) => ({
  name: `conformance: ${template}`,
  nodes: 1,
  async run(lab, step) {
    using remote = await firstNode(lab);
    for (const { name, run } of BLOCK_DEVICE_CHECKS) await step(name, () => run(remoteBlockDevices(template, remote)));
  },
}));

function hypervisor(kind: GuestKind): Scenario {
  return {
    name: `conformance: ${kind.hypervisor}`,
    nodes: 1,
    async run(lab, step) {
      using remote = await firstNode(lab);
      const { machine, agent } = remote.node;
      await machine.run(kind.prepare ?? "");
      for (const { name, run } of HYPERVISOR_CHECKS) {
        // An agent needs 10 s to start here: it is killed only where that is what the check is about.
        const restarts = name.includes("agent");
        await step(name, () => run(remoteHypervisor(remote, kind, { restarts })));
        if (restarts) await agent.start();
      }
      await machine.run(kind.clear ?? "");
    },
  };
}

const DRBD: Scenario = {
  name: "conformance: drbd",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await twoNodes(lab);
    using near = await RemoteNode.connect(lab, first);
    using far = await RemoteNode.connect(lab, second);
    const subject = remoteMirror(near, far);
    for (const { name, run } of BLOCK_DEVICE_CHECKS) await step(name, () => run(subject));
  },
};

export const CONFORMANCE_SCENARIOS: readonly Scenario[] = [
  ...BLOCK_DEVICES,
  hypervisor(KVM_GUESTS),
  hypervisor(LXC_GUESTS),
  DRBD,
];
/** On nodes that are Xen's domain 0. */
export const XEN_CONFORMANCE: Scenario = hypervisor(XEN_GUESTS);

async function firstNode(lab: Lab): Promise<RemoteNode> {
  const [node] = await lab.use(1);
  if (node === undefined) throw new Error("the lab has no node");
  return await RemoteNode.connect(lab, node);
}
