/** A hypervisor's driver behind an agent, with real guests, and what the checks need around it on the node. */
import { setTimeout as delay } from "node:timers/promises";
import type { GuestConsole, GuestSpec, GuestState } from "@gannet/driver-contract";
import type { ConformanceDriver, HypervisorSubject } from "@gannet/driver-contract/conformance";
import { HypervisorError } from "@gannet/errors";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { encodeParameters, type Instance, type InstanceState, OBSERVER_EPOCH } from "@gannet/rpc";
import { XEN_IDLE_KERNEL } from "../guest/xen-guest.ts";
import { asRefusal, type RemoteNode } from "./remote-node.ts";

/** Guests of one hypervisor, as small as they can be. */
export interface GuestKind {
  readonly hypervisor: "kvm" | "xen-pvm";
  readonly hvparams: GuestSpec["hvparams"];
  /** What makes a start of them fail. */
  readonly fault: GuestSpec["hvparams"];
  /** Script that ends the guest `$1`. */
  readonly crash: string;
  /** Script that prints what belongs to guests: processes or domains, and files but the driver's own. */
  readonly leftovers: string;
}

const KVM_FOLDER = "/var/lib/gannet/kvm-hypervisor";
const XEN_FOLDERS = "/var/lib/gannet/xen-hypervisor /var/run/ganeti/instance-disks /var/run/ganeti/xen-hypervisor";
const LOOK_EVERY_MS = 200;

export const KVM_GUESTS: GuestKind = {
  hypervisor: "kvm",
  hvparams: HYPERVISOR_DEFAULTS.kvm,
  fault: { kvm_extra: "-device no-such-device" },
  crash: `kill -KILL $(cat ${KVM_FOLDER}/pid/$1)`,
  leftovers: `pgrep -a qemu-system
find ${KVM_FOLDER} -type f -o -type s | grep -v acceleration-test
true`,
};

export const XEN_GUESTS: GuestKind = {
  hypervisor: "xen-pvm",
  hvparams: {
    ...HYPERVISOR_DEFAULTS["xen-pvm"],
    ...{ kernel_path: XEN_IDLE_KERNEL, initrd_path: "", root_path: "", kernel_args: "" },
  },
  fault: { kernel_path: "/etc/hostname" },
  crash: "xl destroy $1",
  leftovers: `xl list | tail -n +2 | grep -v ^Domain-0
find ${XEN_FOLDERS} -type f -o -type l 2>/dev/null
true`,
};

/** @param restarts - whether a driver that is closed and opened is an agent that is killed and started again */
export function remoteHypervisor(
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
      return remoteDriver(remote, kind.hypervisor, async () => {
        if (!restarts || !runs) return;
        await agent.kill();
        runs = false;
      });
    },
    guest: (name) => bareGuest(name, kind),
    failingGuest: (name) => bareGuest(name, { ...kind, hvparams: { ...kind.hvparams, ...kind.fault } }),
    crash: async (name) => void (await machine.run(`set -- ${name}\n${kind.crash}`)),
    leftovers: async () => (await machine.run(kind.leftovers)).split("\n").filter((line) => line !== ""),
  };
}

function remoteDriver(
  remote: RemoteNode,
  hypervisor: GuestKind["hypervisor"],
  close: () => Promise<void>,
): ConformanceDriver {
  const { instances } = remote.client;
  const told = (state: InstanceState) => stateOf(state, hypervisor);
  const call = <Result>(body: () => Promise<Result>) => asRefusal(HypervisorError, body);
  const driver: ConformanceDriver = {
    recover: async () => {},
    validate: (guest, signal) =>
      call(async () => void (await instances.validate({ instance: messageOf(guest) }, { signal }))),
    start: (guest, { paused }, signal) =>
      call(async () =>
        told(await instances.start({ step: remote.step(), instance: messageOf(guest), paused }, { signal })),
      ),
    stop: (name, options, signal) =>
      call(async () => void (await instances.stop({ step: remote.step(), name, hypervisor, ...options }, { signal }))),
    reboot: (name, options, signal) =>
      call(async () => told(await instances.reboot({ step: remote.step(), name, hypervisor, ...options }, { signal }))),
    state: (name) => call(async () => told(await instances.state({ name, hypervisor }))),
    // Guests that are known as ended are no part of a snapshot's running ones.
    list: async () => {
      const stop = new AbortController();
      try {
        for await (const { update } of remote.client.node.watch(
          // The leader's place is taken by the master that runs beside.
          { epoch: OBSERVER_EPOCH, heartbeatMs: 60_000 },
          { signal: stop.signal },
        ))
          if (update?.$case === "snapshot") return update.value.instances.map(told);
        throw new Error("the node told nothing of itself");
      } finally {
        stop.abort();
      }
    },
    console: (name) => call(async () => (await instances.console({ name, hypervisor })) as unknown as GuestConsole),
    onChange: (listener) => {
      const stop = new AbortController();
      void watchStates(driver, listener, stop.signal);
      return () => stop.abort();
    },
    close,
  };
  return driver;
}

/** Tells of each guest of the first look whose status has become another. */
async function watchStates(
  driver: Pick<ConformanceDriver, "list" | "state">,
  listener: (name: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const names = (await driver.list()).map(({ name }) => name);
  while (!signal.aborted) {
    for (const name of names) if ((await driver.state(name))?.status !== "running") listener(name);
    await delay(LOOK_EVERY_MS);
  }
}

function bareGuest(name: string, { hypervisor, hvparams }: Pick<GuestKind, "hypervisor" | "hvparams">): GuestSpec {
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

function messageOf(guest: GuestSpec): Instance {
  return {
    ...guest,
    disks: [],
    nics: [],
    hvparams: encodeParameters(guest.hvparams),
    networkPort: 0,
    tags: [],
    uidPool: [],
  };
}

function stateOf({ asOfMs: _asOf, ...state }: InstanceState, hypervisor: GuestKind["hypervisor"]): GuestState {
  return { ...state, hypervisor, status: state.status as GuestState["status"] };
}
