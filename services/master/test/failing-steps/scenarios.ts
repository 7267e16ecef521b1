/** Instances that operations are tried on, and the requests that make them. */
import { NODES } from "../logical-units/logical-unit-bed.ts";
import type { Documented, Scenario } from "./failing-steps.ts";

export const [NODE1, NODE2, NODE3] = NODES;
export const NAME = "web1.gnt.test";
export const INSTANCE = { instance_name: NAME };

type Given = NonNullable<Scenario["given"]>[number];

/** What a creation in a template needs beside the ordinary. */
const TEMPLATE_REQUESTS: Readonly<Record<string, object>> = {
  drbd: { snode: NODE2 },
  ext: { disks: [{ size: 1024, provider: "pvdr" }] },
  blockdev: { disks: [{ size: 1024, adopt: "/dev/disk/by-id/one" }] },
  diskless: { disks: [] },
};

export function create(template: string, more: object = {}): Given {
  return [
    "OP_INSTANCE_CREATE",
    {
      ...{ ...INSTANCE, mode: "create", disk_template: template, disks: [{ size: 1024 }], nics: [{}] },
      ...{ os_type: "noop", pnode: NODE1, hypervisor: "fake" },
      ...TEMPLATE_REQUESTS[template],
      ...more,
    },
  ];
}

/** One that does not run, its disks not in use. */
export function stopped(template: string, more: object = {}): readonly Given[] {
  return [create(template, { start: false, ...more }), ["OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE]];
}

/** One that runs. */
export function running(template: string, more: object = {}): readonly Given[] {
  return [create(template, more)];
}

/** What copying contents from node to node comes to, whatever it is for. */
export const COPYING: readonly Documented[] = [
  {
    at: /transfers\.(startImport|startExport)/,
    way: "lost",
    outcome: "as before, left behind",
    because: "the name of the transfer is in the answer; one that nobody connects to ends by itself after 180 s",
  },
  {
    at: /transfers\.end/,
    way: "refused",
    outcome: "done, left behind",
    because: "the contents have arrived, and all that is left is what the agent remembers of them",
  },
  { at: /transfers\.end/, way: "lost", outcome: "done", because: "the contents have arrived" },
  {
    at: /createCertificate/,
    way: "lost",
    outcome: "as before, left behind",
    because: "the name of the key is in the answer; one that nobody uses ends by itself after a day",
  },
  {
    at: /removeCertificate/,
    way: "refused",
    outcome: "done, left behind",
    because: "the contents have arrived; the key is good for nothing else, and ends by itself after a day",
  },
  { at: /removeCertificate/, way: "lost", outcome: "done", because: "the contents have arrived" },
];

/** A mirror that is held up while its disk is written to. */
export const HOLDING_UP: readonly Documented[] = [
  { at: /pauseSync/, outcome: "done", because: "the work is only slower without; what was held up is let go of twice" },
];

/** The volumes that instances have on these nodes are lost. */
export function withoutVolumes(...names: readonly string[]): NonNullable<Scenario["prepare"]> {
  return ({ nodes }) => {
    for (const name of names) {
      const { volumes, ends } = nodes.named(name);
      volumes.clear();
      for (const end of ends.values()) Object.assign(end, { data: undefined, upToDate: false });
    }
  };
}

/** Disks that are let go of once the work is done: what fails is told. */
export function lettingGo(at = / shutdown /): readonly Documented[] {
  return [
    {
      ...{ at, way: "refused", outcome: "done, left behind" },
      because: "the work is done, and a disk that stays active does no harm",
    },
    { at, way: "lost", outcome: "done", because: "the work is done" },
  ];
}

/** Volumes that nothing uses any more. */
export const CLEARING_AWAY: readonly Documented[] = [
  {
    at: / remove /,
    way: "refused",
    outcome: "done, left behind",
    because: "the configuration does not know the volume any more; its name is told, to be removed by hand",
  },
  { at: / remove /, way: "lost", outcome: "done", because: "nothing needs the volume any more" },
];

/** Devices of a guest that is told of a change that is made already. */
export const TELLING_THE_GUEST: readonly Documented[] = [
  {
    at: /instances\.(checkHotplug|hotplug)/,
    way: "refused",
    outcome: "done, left behind",
    because: "the guest has the device from its next start on",
  },
  { at: /instances\.hotplug/, way: "lost", outcome: "done", because: "the guest has the device" },
];
