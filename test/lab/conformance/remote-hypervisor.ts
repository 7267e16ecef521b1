/** A hypervisor's driver behind an agent, with real guests, and what the checks need around it on the node. */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { BlockDeviceSpec, GuestConsole, GuestSpec, GuestState } from "@gannet/driver-contract";
import type { ConformanceDriver, HypervisorSubject } from "@gannet/driver-contract/conformance";
import { HypervisorError } from "@gannet/errors";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { encodeParameters, type Instance, type InstanceState, OBSERVER_EPOCH } from "@gannet/rpc";
import { FILE_STORAGE_DIR } from "../../../deploy/one-machine/initial-configuration.ts";
import { XEN_IDLE_KERNEL } from "../guest/xen-guest.ts";
import { messageOf as deviceMessage } from "./remote-block-devices.ts";
import { asRefusal, type RemoteNode } from "./remote-node.ts";

/** Guests of one hypervisor, as small as they can be. */
export interface GuestKind {
  readonly hypervisor: "kvm" | "xen-pvm" | "lxc";
  readonly hvparams: GuestSpec["hvparams"];
  /** What makes a start of them fail. */
  readonly fault: GuestSpec["hvparams"];
  /** Script that ends the guest `$1`. */
  readonly crash: string;
  /** What a guest cannot do without. All have the same, because there is one at a time. */
  readonly disk?: BlockDeviceSpec;
  /** Scripts that make what guests need on the node, and take it away. */
  readonly prepare?: string;
  readonly clear?: string;
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

const LXC_FOLDER = "/var/lib/gannet/lxc-hypervisor";
const LXC_ROOT = `${FILE_STORAGE_DIR}/conformance-lxc/root`;
const UNCONFINED = "lxc.apparmor.profile = unconfined";

/** Their system is a few programs, and an init that ends when it is asked to. */
export const LXC_GUESTS: GuestKind = {
  hypervisor: "lxc",
  // The nodes' kernel shows AppArmor where lxc looks for it only in part.
  hvparams: { ...HYPERVISOR_DEFAULTS.lxc, extra_config: UNCONFINED },
  fault: { extra_config: `${UNCONFINED},lxc.init.cmd = /nosuch` },
  disk: {
    uuid: "0c0ffee0-4e5f-4d8e-9b0a-1c2d3e4f5a6b",
    template: "file",
    logicalId: ["loop", LXC_ROOT],
    sizeMib: 16,
    mode: "rw",
    instanceName: "conformance.example",
    index: 0,
    params: {},
    children: [],
  },
  prepare: `mkdir -p ${path.dirname(LXC_ROOT)} /run/lxc-root
cd /run/lxc-root && mkdir -p bin sbin proc sys dev etc tmp
cp /bin/busybox bin/ && ln -s busybox bin/sh && ln -s busybox bin/sleep
printf '#!/bin/sh\ntrap "exit 0" PWR\nwhile :; do sleep 0.1; done\n' >sbin/init && chmod 755 sbin/init
mke2fs -q -t ext4 -d /run/lxc-root ${LXC_ROOT} 16M
cd / && rm -r /run/lxc-root`,
  clear: `rm -rf ${path.dirname(LXC_ROOT)} ${LXC_FOLDER}/containers`,
  crash: `lxc-stop -n $1 -P ${LXC_FOLDER}/containers --kill`,
  leftovers: `pgrep -fa 'lxc monitor'
grep ${LXC_FOLDER} /proc/mounts
find ${LXC_FOLDER} -type f
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
      return remoteDriver(remote, kind, async () => {
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

function remoteDriver(remote: RemoteNode, kind: GuestKind, close: () => Promise<void>): ConformanceDriver {
  const { instances } = remote.client;
  const { hypervisor } = kind;
  const told = (state: InstanceState) => stateOf(state, hypervisor);
  const call = <Result>(body: () => Promise<Result>) => asRefusal(HypervisorError, body);
  const driver: ConformanceDriver = {
    recover: async () => {},
    validate: (guest, signal) =>
      call(async () => void (await instances.validate({ instance: messageOf(guest, kind) }, { signal }))),
    start: (guest, { paused }, signal) =>
      call(async () =>
        told(await instances.start({ step: remote.step(), instance: messageOf(guest, kind), paused }, { signal })),
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

function messageOf(guest: GuestSpec, { disk }: GuestKind): Instance {
  return {
    ...guest,
    disks: disk === undefined ? [] : [deviceMessage(disk)],
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
