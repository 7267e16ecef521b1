/** A hypervisor's driver behind an agent, asked as the master asks it. */
import { setTimeout as delay } from "node:timers/promises";
import type { BlockDeviceSpec, GuestConsole, GuestSpec, GuestState } from "@gannet/driver-contract";
import type { ConformanceDriver } from "@gannet/driver-contract/conformance";
import { HypervisorError } from "@gannet/errors";
import type { HypervisorName } from "@gannet/objects";
import { encodeParameters, type Instance, type InstanceState, OBSERVER_EPOCH } from "@gannet/rpc";
import { asRefusal } from "./refusal.ts";
import { type CalledNode, deviceMessage } from "./remote-block-devices.ts";

const LOOK_EVERY_MS = 200;

export interface RemoteHypervisorOptions {
  readonly hypervisor: HypervisorName;
  /** Of each guest: an agent is told of devices, and looks itself where they are. */
  readonly disks: readonly BlockDeviceSpec[];
  /** The agent ends, or stays as it is. */
  readonly close: () => Promise<void>;
}

export function remoteHypervisor(
  { client, step }: CalledNode,
  { hypervisor, disks, close }: RemoteHypervisorOptions,
): ConformanceDriver {
  const { instances, node } = client;
  const told = (state: InstanceState) => stateOf(state, hypervisor);
  const call = <Result>(body: () => Promise<Result>) => asRefusal(HypervisorError, body);
  const messageOf = (guest: GuestSpec): Instance => ({
    ...guest,
    disks: disks.map(deviceMessage),
    nics: [],
    hvparams: encodeParameters(guest.hvparams),
    networkPort: 0,
    tags: [],
    uidPool: [],
  });
  const driver: ConformanceDriver = {
    recover: async () => {},
    validate: (guest, signal) =>
      call(async () => void (await instances.validate({ instance: messageOf(guest) }, { signal }))),
    start: (guest, { paused }, signal) =>
      call(async () => told(await instances.start({ step: step(), instance: messageOf(guest), paused }, { signal }))),
    stop: (name, options, signal) =>
      call(async () => void (await instances.stop({ step: step(), name, hypervisor, ...options }, { signal }))),
    reboot: (name, options, signal) =>
      call(async () => told(await instances.reboot({ step: step(), name, hypervisor, ...options }, { signal }))),
    state: (name) => call(async () => told(await instances.state({ name, hypervisor }))),
    // Guests that are known as ended are no part of a snapshot's running ones.
    list: async () => {
      const stop = new AbortController();
      try {
        for await (const { update } of node.watch(
          // The leader's place may be taken, by a master that runs beside.
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
      // The check then misses its news, and fails.
      watchStates(driver, listener, stop.signal).catch((error: unknown) =>
        console.log(`guests' news: ${String(error)}`),
      );
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

function stateOf({ asOfMs: _asOf, ...state }: InstanceState, hypervisor: HypervisorName): GuestState {
  return { ...state, hypervisor, status: state.status as GuestState["status"] };
}
