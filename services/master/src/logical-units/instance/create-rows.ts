/** The configuration rows of a new instance. A commit that is tried again draws new addresses of NICs and nothing else. */
import { randomUUID } from "node:crypto";
import type { ConfigChange } from "@gannet/config-store";
import {
  allocatePort,
  type ConfigView,
  type Instance,
  type InstanceUuid,
  NEEDS_NETWORK_PORT,
  type Nic,
} from "@gannet/objects";
import { writtenNics } from "./changed-nics.ts";
import type { CreatePlan } from "./create-plan.ts";
import { type DiskHome, type DiskIdentity, newDiskIdentity } from "./disk-rows.ts";
import { NO_NICS } from "./planned-nics.ts";

/** What is drawn by lot, once, so that a commit that is tried again writes the same rows. */
export interface NewIdentity {
  readonly instance: InstanceUuid;
  readonly disks: readonly DiskIdentity[];
  /** Seconds since 1970. */
  readonly ctime: number;
}

export function newIdentity(plan: CreatePlan, ctime: number): NewIdentity {
  return {
    instance: randomUUID() as InstanceUuid,
    disks: plan.disks.map(newDiskIdentity),
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
  nics: Nic[],
  networkPort: number | null,
): Instance {
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
    nics,
    disks: identity.disks.map(({ uuid }) => uuid),
    diskTemplate: plan.template,
    // A mirrored disk's ends are connected from its creation on.
    disksActive: plan.secondary !== null && !plan.forthcoming,
    networkPort,
    forthcoming: plan.forthcoming,
    tags: [...plan.tags],
    ctime: identity.ctime,
    mtime: identity.ctime,
    serialNo: 0,
  };
}

/** The NICs, with addresses drawn from the view, and the changes of the networks' pools that belong to them. */
export function drawnNics(plan: CreatePlan, view: ConfigView): ReturnType<typeof writtenNics> {
  return writtenNics(view, NO_NICS, plan.nics);
}

/** The changes that add the instance to a configuration that has its disks already. */
export function addedInstance(plan: CreatePlan, identity: NewIdentity, view: ConfigView): readonly ConfigChange[] {
  const { nics, networks } = drawnNics(plan, view);
  const { port, state } = NEEDS_NETWORK_PORT[plan.hypervisor]
    ? allocatePort(view.cluster)
    : { port: null, state: null };
  return [
    ...(state === null ? [] : [{ kind: "cluster", put: { ...view.cluster, ...state } } as const]),
    ...networks,
    { kind: "instance", put: instanceRow(plan, identity, nics, port) },
  ];
}
