/** Real guests behind an agent, with what the checks need around them on the node. */
import type { GuestSpec } from "@gannet/driver-contract";
import type { HypervisorSubject } from "@gannet/driver-contract/conformance";
import { remoteHypervisor } from "../../remote-drivers/remote-hypervisor.ts";
import type { GuestKind } from "./guest-kinds.ts";
import type { RemoteNode } from "./remote-node.ts";

/** @param restarts - whether a driver that is closed and opened is an agent that is killed and started again */
export function remoteGuests(
  remote: RemoteNode,
  kind: GuestKind,
  { restarts }: { readonly restarts: boolean },
): HypervisorSubject {
  const { machine, agent } = remote.node;
  let runs = true;
  return {
    async open() {
      if (!runs) await agent.start();
      runs = true;
      return remoteHypervisor(remote, {
        hypervisor: kind.hypervisor,
        disks: kind.disk === undefined ? [] : [kind.disk],
        async close() {
          if (!restarts || !runs) return;
          await agent.kill();
          runs = false;
        },
      });
    },
    guest: (name) => bareGuest(name, kind),
    failingGuest: (name) => bareGuest(name, { ...kind, hvparams: { ...kind.hvparams, ...kind.fault } }),
    crash: async (name) => void (await machine.run(`set -- ${name}\n${kind.crash}`)),
    leftovers: async () => (await machine.run(kind.leftovers)).split("\n").filter((line) => line !== ""),
  };
}

function bareGuest(name: string, { hypervisor, hvparams }: GuestKind): GuestSpec {
  const hex = Buffer.from(name).toString("hex").padEnd(32, "0").slice(-32);
  return {
    name,
    uuid: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-"),
    hypervisor,
    maxMemoryMib: 32,
    startMemoryMib: 32,
    vcpus: 1,
    disks: [],
    nics: [],
    hvparams,
    networkPort: null,
  };
}
