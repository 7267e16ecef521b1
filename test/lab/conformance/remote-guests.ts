/** Real guests behind an agent, with what the checks need around them on the node. */
import type { HypervisorSubject } from "@gannet/driver-contract/conformance";
import { remoteHypervisor } from "../../remote-drivers/remote-hypervisor.ts";
import { bareGuest, type GuestKind } from "./guest-kinds.ts";
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
