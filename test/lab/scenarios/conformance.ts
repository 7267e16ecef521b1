/** The conformance suites of libs/driver-contract over gRPC, against real devices and real guests. */
import { BLOCK_DEVICE_CHECKS, GIVEN_DEVICE_CHECKS, HYPERVISOR_CHECKS } from "@gannet/driver-contract/conformance";
import {
  CHROOT_GUESTS,
  type GuestKind,
  KVM_GUESTS,
  LXC_GUESTS,
  XEN_HVM_GUESTS,
  XEN_PVM_GUESTS,
} from "../conformance/guest-kinds.ts";
import { remoteGuests } from "../conformance/remote-guests.ts";
import { remoteMirror } from "../conformance/remote-mirror.ts";
import { RemoteNode } from "../conformance/remote-node.ts";
import {
  GIVEN_PLACE,
  givenSubject,
  ownSubject,
  STORAGE_PLACES,
  type StoragePlace,
} from "../conformance/storage-places.ts";
import type { Lab } from "../lab.ts";
import type { Scenario } from "../scenario.ts";
import { twoNodes } from "./pairs.ts";

interface Check {
  readonly name: string;
  readonly run: () => Promise<void>;
}

function storage(place: StoragePlace, checksOn: (remote: RemoteNode) => readonly Check[]): Scenario {
  return {
    name: `conformance: ${place.template}`,
    nodes: 1,
    async run(lab, step) {
      using remote = await firstNode(lab);
      const { machine } = remote.node;
      await machine.run(place.open ?? "");
      for (const { name, run } of checksOn(remote)) await step(name, run);
      await machine.run(place.close ?? "");
    },
  };
}

const STORAGE: readonly Scenario[] = [
  ...STORAGE_PLACES.map((place) =>
    storage(place, (remote) => {
      const subject = ownSubject(place, remote);
      return BLOCK_DEVICE_CHECKS.map(({ name, run }) => ({ name, run: () => run(subject) }));
    }),
  ),
  storage(GIVEN_PLACE, (remote) => {
    const subject = givenSubject(remote);
    return GIVEN_DEVICE_CHECKS.map(({ name, run }) => ({ name, run: () => run(subject) }));
  }),
];

function hypervisor(kind: GuestKind): Scenario {
  return {
    name: `conformance: ${kind.hypervisor}`,
    nodes: 1,
    kills: true,
    async run(lab, step) {
      using remote = await firstNode(lab);
      const { machine, agent } = remote.node;
      await machine.run(kind.prepare ?? "");
      for (const { name, run } of HYPERVISOR_CHECKS) {
        // An agent needs 10 s to start here: it is killed only where that is what the check is about.
        const restarts = name.includes("agent");
        await step(name, () => run(remoteGuests(remote, kind, { restarts })));
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
  ...STORAGE,
  ...[KVM_GUESTS, LXC_GUESTS, CHROOT_GUESTS].map(hypervisor),
  DRBD,
];
/** On nodes that are Xen's domain 0. */
export const XEN_CONFORMANCE: readonly Scenario[] = [XEN_PVM_GUESTS, XEN_HVM_GUESTS].map(hypervisor);

async function firstNode(lab: Lab): Promise<RemoteNode> {
  const [node] = await lab.use(1);
  if (node === undefined) throw new Error("the lab has no node");
  return await RemoteNode.connect(lab, node);
}
