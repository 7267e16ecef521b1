/** The configuration rows of a new instance. A commit that is tried again draws new MAC addresses and nothing else. */
import { randomBytes, randomUUID } from "node:crypto";
import type { ConfigChange } from "@gannet/config-store";
import {
  allocatePort,
  type ConfigView,
  generateMac,
  type Instance,
  type InstanceUuid,
  NEEDS_NETWORK_PORT,
} from "@gannet/objects";
import type { CreatePlan } from "./create-plan.ts";
import { type DiskHome, type DiskIdentity, newDiskIdentity } from "./disk-rows.ts";
import { macInUse } from "./planned-nics.ts";

/** What is drawn by lot, once, so that a commit that is tried again writes the same rows. */
export interface NewIdentity {
  readonly instance: InstanceUuid;
  readonly disks: readonly DiskIdentity[];
  readonly nics: readonly string[];
  /** Seconds since 1970. */
  readonly ctime: number;
}

export function newIdentity(plan: CreatePlan, ctime: number): NewIdentity {
  return {
    instance: randomUUID() as InstanceUuid,
    disks: plan.disks.map(newDiskIdentity),
    nics: plan.nics.map(() => randomUUID()),
    ctime,
  };
}

/** Whose the disks are to be. */
export function diskHome(plan: CreatePlan, { instance, ctime }: NewIdentity): DiskHome {
  return { instance, primary: plan.node.uuid, secondary: plan.secondary?.uuid ?? null, ctime };
}

/** The instance as it is before anything is started: admin state down. */
export function instanceRow(
  plan: CreatePlan,
  identity: NewIdentity,
  view: ConfigView,
  networkPort: number | null,
): Instance {
  const taken = new Set<string>();
  return {
    uuid: identity.instance,
    name: plan.name,
    primaryNode: plan.node.uuid,
    os: plan.os,
    hypervisor: plan.hypervisor,
    hvparams: plan.hvparams,
    beparams: plan.beparams,
    osparams: plan.osparams,
    osparamsPrivate: plan.osparamsPrivate,
    adminState: "down",
    adminStateSource: "admin",
    nics: plan.nics.map((nic, index) => {
      const isTaken = (mac: string) => taken.has(mac) || macInUse(view, mac);
      const mac = nic.mac ?? generateMac(view.cluster.macPrefix, isTaken, randomBytes);
      taken.add(mac);
      return {
        uuid: identity.nics[index] ?? "",
        name: nic.name,
        mac,
        ip: nic.ip,
        network: null,
        nicparams: nic.nicparams,
      };
    }),
    disks: identity.disks.map(({ uuid }) => uuid),
    diskTemplate: plan.template,
    // A mirrored disk's ends are connected from its creation on.
    disksActive: plan.secondary !== null,
    networkPort,
    forthcoming: false,
    tags: [...plan.tags],
    ctime: identity.ctime,
    mtime: identity.ctime,
    serialNo: 0,
  };
}

/** The changes that add the instance to a configuration that has its disks already. */
export function addedInstance(plan: CreatePlan, identity: NewIdentity, view: ConfigView): readonly ConfigChange[] {
  if (!NEEDS_NETWORK_PORT[plan.hypervisor]) return [{ kind: "instance", put: instanceRow(plan, identity, view, null) }];
  const { port, state } = allocatePort(view.cluster);
  return [
    { kind: "cluster", put: { ...view.cluster, ...state } },
    { kind: "instance", put: instanceRow(plan, identity, view, port) },
  ];
}
