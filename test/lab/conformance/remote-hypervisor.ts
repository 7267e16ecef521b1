/** The kvm driver behind an agent, with real nested KVM, and what the checks need around it on the node. */
import { setTimeout as delay } from "node:timers/promises";
import type { GuestConsole, GuestSpec, GuestState } from "@gannet/driver-contract";
import type { ConformanceDriver, HypervisorSubject } from "@gannet/driver-contract/conformance";
import { HypervisorError } from "@gannet/errors";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { encodeParameters, type Instance, type InstanceState, OBSERVER_EPOCH } from "@gannet/rpc";
import { asRefusal, type RemoteNode } from "./remote-node.ts";

const HYPERVISOR = "kvm";
const STATE_FOLDER = "/var/lib/gannet/kvm-hypervisor";
const LOOK_EVERY_MS = 200;
/** Prints what belongs to guests: processes, and files but the driver's own. */
const LEFTOVERS = `pgrep -a qemu-system
find ${STATE_FOLDER} -type f -o -type s | grep -v acceleration-test
true`;

/** @param restarts - whether a driver that is closed and opened is an agent that is killed and started again */
export function remoteHypervisor(remote: RemoteNode, { restarts }: { readonly restarts: boolean }): HypervisorSubject {
  const { machine, agent } = remote.node;
  let runs = true;
  return {
    async open() {
      if (!runs) await agent.start();
      runs = true;
      return remoteDriver(remote, async () => {
        if (!restarts || !runs) return;
        await agent.kill();
        runs = false;
      });
    },
    guest: (name) => bareGuest(name, HYPERVISOR_DEFAULTS.kvm),
    failingGuest: (name) => bareGuest(name, { ...HYPERVISOR_DEFAULTS.kvm, kvm_extra: "-device no-such-device" }),
    crash: async (name) => void (await machine.run(`kill -KILL $(cat ${STATE_FOLDER}/pid/${name})`)),
    leftovers: async () => (await machine.run(LEFTOVERS)).split("\n").filter((line) => line !== ""),
  };
}

function remoteDriver(remote: RemoteNode, close: () => Promise<void>): ConformanceDriver {
  const { instances } = remote.client;
  const call = <Result>(body: () => Promise<Result>) => asRefusal(HypervisorError, body);
  const driver: ConformanceDriver = {
    recover: async () => {},
    validate: (guest, signal) =>
      call(async () => void (await instances.validate({ instance: messageOf(guest) }, { signal }))),
    start: (guest, { paused }, signal) =>
      call(async () =>
        stateOf(await instances.start({ step: remote.step(), instance: messageOf(guest), paused }, { signal })),
      ),
    stop: (name, options, signal) =>
      call(
        async () =>
          void (await instances.stop({ step: remote.step(), name, hypervisor: HYPERVISOR, ...options }, { signal })),
      ),
    reboot: (name, options, signal) =>
      call(async () =>
        stateOf(await instances.reboot({ step: remote.step(), name, hypervisor: HYPERVISOR, ...options }, { signal })),
      ),
    state: (name) => call(async () => stateOf(await instances.state({ name, hypervisor: HYPERVISOR }))),
    // Guests that are known as ended are no part of a snapshot's running ones.
    list: async () => {
      const stop = new AbortController();
      try {
        for await (const { update } of remote.client.node.watch(
          // The leader's place is taken by the master that runs beside.
          { epoch: OBSERVER_EPOCH, heartbeatMs: 60_000 },
          { signal: stop.signal },
        ))
          if (update?.$case === "snapshot") return update.value.instances.map(stateOf);
        throw new Error("the node told nothing of itself");
      } finally {
        stop.abort();
      }
    },
    console: (name) =>
      call(async () => (await instances.console({ name, hypervisor: HYPERVISOR })) as unknown as GuestConsole),
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

function bareGuest(name: string, hvparams: GuestSpec["hvparams"]): GuestSpec {
  const hex = Buffer.from(name).toString("hex").padEnd(32, "0").slice(-32);
  return {
    name,
    uuid: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-"),
    hypervisor: HYPERVISOR,
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

function stateOf({ asOfMs: _asOf, ...state }: InstanceState): GuestState {
  return { ...state, hypervisor: HYPERVISOR, status: state.status as GuestState["status"] };
}
