/** The configuration rows of a new instance. A commit that is tried again draws new MAC addresses and nothing else. */
import { randomBytes, randomUUID } from "node:crypto";
import type { ConfigChange } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import {
  allocatePort,
  type ConfigView,
  type Disk,
  type DiskUuid,
  diskIvName,
  generateMac,
  type Instance,
  type InstanceUuid,
  logicalIdOf,
  NEEDS_NETWORK_PORT,
} from "@gannet/objects";
import type { CreatePlan } from "./create-plan.ts";
import { macInUse } from "./planned-nics.ts";

/** What is drawn by lot, once, so that a commit that is tried again writes the same rows. */
export interface NewIdentity {
  readonly instance: InstanceUuid;
  readonly disks: readonly DiskUuid[];
  readonly nics: readonly string[];
  /** Seconds since 1970. */
  readonly ctime: number;
}

export function newIdentity(plan: CreatePlan, ctime: number): NewIdentity {
  return {
    instance: randomUUID() as InstanceUuid,
    disks: plan.disks.map(() => randomUUID() as DiskUuid),
    nics: plan.nics.map(() => randomUUID()),
    ctime,
  };
}

/** The disks' rows; their files are named by the disk's UUID (spec/config.json, `disk_naming`). */
export function diskRows(plan: CreatePlan, identity: NewIdentity): readonly Disk[] {
  if (plan.disks.length === 0) return [];
  const template = fileTemplate(plan);
  return plan.disks.flatMap((disk, position): Disk[] => {
    const uuid = identity.disks[position];
    if (uuid === undefined) return [];
    return [
      {
        uuid,
        name: disk.name,
        template: plan.template,
        logicalId: [...logicalIdOf({ template, driver: "loop", directory: disk.folder }, uuid, disk.index)],
        children: [],
        nodes: [plan.node.uuid],
        ivName: diskIvName(disk.index),
        sizeMib: disk.sizeMib,
        mode: disk.mode,
        spindles: disk.spindles,
        params: {},
        ctime: identity.ctime,
        mtime: identity.ctime,
        serialNo: 0,
      },
    ];
  });
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
    disks: [...identity.disks],
    diskTemplate: plan.template,
    disksActive: false,
    networkPort,
    forthcoming: false,
    tags: [...plan.tags],
    ctime: identity.ctime,
    mtime: identity.ctime,
    serialNo: 0,
  };
}

/** Everything that the creation writes into the configuration. */
export function createRows(plan: CreatePlan, identity: NewIdentity, view: ConfigView): readonly ConfigChange[] {
  const changes: ConfigChange[] = diskRows(plan, identity).map((disk) => ({ kind: "disk", put: disk }));
  let networkPort: number | null = null;
  if (NEEDS_NETWORK_PORT[plan.hypervisor]) {
    const { port, state } = allocatePort(view.cluster);
    networkPort = port;
    changes.push({ kind: "cluster", put: { ...view.cluster, ...state } });
  }
  changes.push({ kind: "instance", put: instanceRow(plan, identity, view, networkPort) });
  return changes;
}

/** @throws OpPrereqError (wrong_input) for templates whose disks are more than files */
function fileTemplate({ template }: CreatePlan): "file" | "sharedfile" {
  if (template === "file" || template === "sharedfile") return template;
  throw new OpPrereqError(`Disk template ${template} is not supported yet`, "wrong_input");
}
