/** Instances, with their NICs and disks. */
import {
  ADMIN_STATE_SOURCES,
  ADMIN_STATES,
  type Cluster,
  checkHypervisorParameters,
  DISK_TEMPLATES,
  type Disk,
  type DiskTemplate,
  type DiskUuid,
  filledHvparams,
  HYPERVISORS,
  type Instance,
  type InstanceUuid,
  type NetworkUuid,
  type Nic,
  type NodeUuid,
  normalizeHostName,
  normalizeMac,
  parseOsName,
} from "@gannet/objects";
import { tellUnknown, translateStamps, translateTags } from "./cluster.ts";
import { derivedUuid, isUuid } from "./derived-uuid.ts";
import { translateDisk } from "./disks.ts";
import { asNotTranslatable, type Findings, NotTranslatable, shown } from "./findings.ts";
import { JsonObject } from "./json-object.ts";
import { type Finder, nicLevel } from "./nodes-and-groups.ts";
import { freeParameters, hypervisorLevel, translateBeparams, translateParameters } from "./parameters.ts";

export interface InstanceSurroundings {
  readonly cluster: Cluster;
  readonly nodeOf: Finder<NodeUuid>;
  readonly networkOf: Finder<NetworkUuid>;
  /** A row of the table of disks. @throws NotTranslatable when there is none, or another instance has it */
  readonly diskOf: (object: JsonObject, index: number, uuid: string) => JsonObject;
}

/** @throws NotTranslatable */
export function translateInstance(
  findings: Findings,
  object: JsonObject,
  uuid: InstanceUuid,
  around: InstanceSurroundings,
): { readonly instance: Instance; readonly disks: readonly Disk[] } {
  const { cluster } = around;
  const forthcoming = object.flag("forthcoming", false);
  const name = normalizeHostName(object.text("name"));
  const primaryNode = around.nodeOf(object.at("primary_node"), object.text("primary_node"));
  const hypervisor = HYPERVISORS.find((known) => known === object.raw("hypervisor"));
  if (hypervisor === undefined)
    throw new NotTranslatable(
      object.at("hypervisor"),
      `${shown(object.raw("hypervisor"))} is no hypervisor that Gannet has`,
    );
  const stamps = translateStamps(object);
  const disks = translateDisks(findings, object, { ...around, primaryNode, ctime: stamps.ctime });
  const adminState = object.choice("admin_state", ADMIN_STATES, forthcoming ? "down" : undefined);
  const os = object.text("os", "");
  if (os !== "") parseOsName(os);
  const instance: Instance = {
    ...stamps,
    uuid,
    name,
    primaryNode,
    os,
    hypervisor,
    hvparams: translateParameters(
      findings,
      object.at("hvparams"),
      object.table("hvparams"),
      hypervisorLevel(hypervisor),
    ),
    beparams: translateBeparams(findings, object.at("beparams"), object.table("beparams")),
    osparams: freeParameters(findings, object.at("osparams"), object.table("osparams")),
    osparamsPrivate: freeParameters(findings, object.at("osparams_private"), object.table("osparams_private")),
    adminState,
    adminStateSource: object.choice("admin_state_source", ADMIN_STATE_SOURCES, "admin"),
    nics: object.list("nics").map((nic, index) => translateNic(findings, object, nic, { ...around, index, uuid })),
    disks: disks.map((disk) => disk.uuid),
    diskTemplate: diskTemplate(object, disks),
    disksActive: object.flag("disks_active", adminState === "up"),
    networkPort: object.intOrNull("network_port"),
    forthcoming,
    tags: translateTags(findings, object),
  };
  object.ignore("uuid");
  tellUnknown(findings, object);
  tellDoubts(findings, object, cluster, instance);
  return { instance, disks };
}

function translateNic(
  findings: Findings,
  instance: JsonObject,
  value: unknown,
  { networkOf, index, uuid }: InstanceSurroundings & { readonly index: number; readonly uuid: InstanceUuid },
): Nic {
  const object = new JsonObject([...instance.at("nics"), index], value);
  const network = object.textOrNull("network");
  const own = object.textOrNull("uuid");
  const nic: Nic = {
    uuid: own !== null && isUuid(own) ? own : derivedUuid(uuid, `nic ${index}`),
    name: object.textOrNull("name"),
    mac: macOf(object),
    ip: object.textOrNull("ip"),
    network: network === null || network === "" ? null : networkOf(object.at("network"), network),
    nicparams: translateParameters(findings, object.at("nicparams"), object.table("nicparams"), nicLevel),
  };
  // Runtime values of nodes.
  object.ignore("hvinfo", "pci", "netinfo");
  tellUnknown(findings, object);
  return nic;
}

function macOf(object: JsonObject): string {
  const mac = object.text("mac");
  try {
    return normalizeMac(mac);
  } catch (error) {
    throw asNotTranslatable(object.at("mac"), error);
  }
}

function translateDisks(
  findings: Findings,
  object: JsonObject,
  around: InstanceSurroundings & { readonly primaryNode: NodeUuid; readonly ctime: number },
): readonly Disk[] {
  return object.list("disks").map((reference, index) => {
    const home = { ...around, index };
    if (typeof reference === "string") {
      const row = around.diskOf(object, index, reference);
      return translateDisk(findings, row, reference as DiskUuid, home);
    }
    const inline = new JsonObject([...object.at("disks"), index], reference);
    const own = inline.textOrNull("uuid");
    const owner = object.text("uuid", object.text("name"));
    const uuid = own !== null && isUuid(own) ? (own as DiskUuid) : derivedUuid<DiskUuid>(owner, `disk ${index}`);
    return translateDisk(findings, inline, uuid, home);
  });
}

/** Older files say it of the instance, newer ones of each disk only. */
function diskTemplate(object: JsonObject, disks: readonly Disk[]): DiskTemplate {
  const stated = object.textOrNull("disk_template");
  const found = [...new Set(disks.map(({ template }) => template))];
  if (found.length > 1)
    throw new NotTranslatable(object.at("disks"), `are of several templates, ${found.join(" and ")}: Gannet wants one`);
  const [template = "diskless"] = found;
  if (stated === null || stated === template) return template;
  if (DISK_TEMPLATES.some((known) => known === stated) && disks.length === 0) return stated as DiskTemplate;
  throw new NotTranslatable(object.at("disk_template"), `is ${shown(stated)}, and its disks are of ${template}`);
}

/** Ganeti keeps values that it would refuse at the next start; so does Gannet, and says so now. */
function tellDoubts(findings: Findings, object: JsonObject, cluster: Cluster, instance: Instance): void {
  if (!cluster.enabledHypervisors.includes(instance.hypervisor))
    findings.note(object.at("hypervisor"), `${instance.hypervisor} is not enabled in the cluster`);
  try {
    checkHypervisorParameters(instance.hypervisor, filledHvparams(cluster, instance));
  } catch (error) {
    findings.note(object.at("hvparams"), `would be refused at the next start: ${asNotTranslatable([], error).message}`);
  }
}
