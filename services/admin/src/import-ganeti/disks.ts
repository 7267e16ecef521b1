/** Disks: from the table of Ganeti 2.14 and later, or from inside their instances. */
import path from "node:path";
import {
  type ChildDisk,
  type Cluster,
  DISK_TEMPLATES,
  type Disk,
  type DiskTemplate,
  type DiskUuid,
  FILE_DRIVERS,
  type LogicalId,
  MAX_DRBD_MINOR,
  type NodeUuid,
  type Parameters,
} from "@gannet/objects";
import { tellUnknown, translateStamps } from "./cluster.ts";
import { derivedUuid, isUuid } from "./derived-uuid.ts";
import { type Findings, NotTranslatable, shown } from "./findings.ts";
import { JsonObject } from "./json-object.ts";
import type { Finder } from "./nodes-and-groups.ts";
import { freeParameters } from "./parameters.ts";

/** What they were before Ganeti 2.9. */
const OLD_TYPES: ReadonlyMap<string, DiskTemplate> = new Map([
  ["lvm", "plain"],
  ["drbd8", "drbd"],
]);

export interface DiskHome {
  readonly cluster: Pick<Cluster, "glusterStorageDir">;
  /** Of the instance that the disk belongs to. */
  readonly primaryNode: NodeUuid;
  readonly nodeOf: Finder<NodeUuid>;
  /** Times of disks that have none. */
  readonly ctime: number;
  readonly index: number;
}

/** @throws NotTranslatable */
export function translateDisk(findings: Findings, object: JsonObject, uuid: DiskUuid, home: DiskHome): Disk {
  const template = templateOf(object);
  const logicalId = LOGICAL_IDS[template](object, home);
  const nodes = template === "drbd" ? drbdNodes(object, logicalId, home.primaryNode) : [home.primaryNode];
  // Runtime values of nodes, the instance's place for it, and what stands here in another form.
  object.ignore("uuid", "physical_id", "dynamic_params", "hvinfo", "pci", "netinfo", "nodes", "forthcoming");
  const disk: Disk = {
    ...translateStamps(object, home),
    ...common(findings, object, template),
    uuid,
    logicalId: [...logicalId],
    nodes,
    ivName: `disk/${home.index}`,
    children: template === "drbd" ? drbdChildren(findings, object, { uuid, nodes }) : [],
  };
  if (template !== "drbd" && object.list("children").length > 0)
    throw new NotTranslatable(object.at("children"), `a disk of template ${template} has none`);
  tellUnknown(findings, object);
  return disk;
}

export function templateOf(object: JsonObject): DiskTemplate {
  const type = object.text("dev_type");
  const template = OLD_TYPES.get(type) ?? DISK_TEMPLATES.find((known) => known === type);
  if (template === undefined || template === "diskless")
    throw new NotTranslatable(object.at("dev_type"), `${shown(type)} is no disk template that Gannet has`);
  return template;
}

function common(
  findings: Findings,
  object: JsonObject,
  template: DiskTemplate,
): Pick<Disk, "template" | "name" | "sizeMib" | "mode" | "spindles" | "params"> {
  const sizeMib = object.int("size");
  if (sizeMib < 0) throw new NotTranslatable(object.at("size"), `is ${sizeMib}`);
  object.ignore("iv_name");
  return {
    template,
    name: object.textOrNull("name"),
    sizeMib,
    mode: object.choice("mode", ["rw", "ro"], "rw"),
    spindles: object.intOrNull("spindles"),
    params: ownParameters(findings, object, template),
  };
}

/** Ganeti fills in parameters of templates when a disk is used; only its own are stored with it. */
function ownParameters(findings: Findings, object: JsonObject, template: DiskTemplate): Parameters {
  const { provider: _, ...values } = object.table("params");
  const own = freeParameters(findings, object.at("params"), values);
  if (template === "ext") return own;
  const { access, ...others } = own;
  for (const name of Object.keys(others))
    findings.note([...object.at("params"), name], "is left out: a disk has it from its cluster and group");
  return access === undefined ? {} : { access };
}

type LogicalIdReader = (object: JsonObject, home: DiskHome) => LogicalId;

const LOGICAL_IDS: Readonly<Record<DiskTemplate, LogicalIdReader>> = {
  plain: (object) => texts(object, ["volume group", "volume"]),
  file: fileId,
  sharedfile: fileId,
  gluster: (object, { cluster }) => {
    const [driver, file] = fileId(object);
    // Ganeti's is relative to where the volume is mounted.
    return [driver, path.posix.resolve(cluster.glusterStorageDir, file)];
  },
  blockdev: (object) => {
    const [driver, device] = texts(object, ["driver", "path"]);
    if (driver !== "manual" || !device?.startsWith("/dev/"))
      throw new NotTranslatable(object.at("logical_id"), 'must be ["manual", a path below /dev]');
    return [driver, device];
  },
  rbd: (object) => texts(object, ["driver", "image"]),
  ext: (object) => texts(object, ["provider", "name"]),
  drbd: drbdId,
  diskless: (object) => {
    throw new NotTranslatable(object.at("dev_type"), "a diskless instance has no disks");
  },
};

function texts(object: JsonObject, parts: readonly string[]): readonly string[] {
  const values = object.list("logical_id");
  if (values.length !== parts.length || !values.every((value) => typeof value === "string" && value !== ""))
    throw new NotTranslatable(object.at("logical_id"), `is ${shown(values)}, not [${parts.join(", ")}]`);
  return values as readonly string[];
}

function fileId(object: JsonObject): readonly [string, string] {
  const [driver = "", file = ""] = texts(object, ["driver", "path"]);
  if (!FILE_DRIVERS.some((known) => known === driver))
    throw new NotTranslatable([...object.at("logical_id"), 0], `${shown(driver)} is no driver of files`);
  return [driver, file];
}

function drbdId(object: JsonObject, { nodeOf }: DiskHome): LogicalId {
  const at = object.at("logical_id");
  const values = object.list("logical_id");
  const [nodeA, nodeB, port, minorA, minorB, secret] = values;
  const isMinor = (value: unknown) =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_DRBD_MINOR;
  if (
    values.length !== 6 ||
    typeof nodeA !== "string" ||
    typeof nodeB !== "string" ||
    typeof port !== "number" ||
    !Number.isInteger(port) ||
    typeof secret !== "string"
  )
    throw new NotTranslatable(at, "is not [node, node, port, minor, minor, secret]");
  if (!isMinor(minorA) || !isMinor(minorB))
    throw new NotTranslatable(at, `has minors ${shown([minorA, minorB])}; they go from 0 to ${MAX_DRBD_MINOR}`);
  const nodes = [nodeOf([...at, 0], nodeA), nodeOf([...at, 1], nodeB)];
  if (nodes[0] === nodes[1]) throw new NotTranslatable(at, "names the same node twice");
  return [...nodes, port, Number(minorA), Number(minorB), secret];
}

function drbdNodes(object: JsonObject, logicalId: LogicalId, primaryNode: NodeUuid): NodeUuid[] {
  const nodes = logicalId.slice(0, 2) as NodeUuid[];
  if (nodes.includes(primaryNode)) return nodes;
  throw new NotTranslatable(object.at("logical_id"), "names two nodes, and its instance's primary node is neither");
}

/** Data and metadata. */
function drbdChildren(
  findings: Findings,
  object: JsonObject,
  { uuid, nodes }: { readonly uuid: DiskUuid; readonly nodes: readonly NodeUuid[] },
): ChildDisk[] {
  const children = object.list("children");
  if (children.length !== 2)
    throw new NotTranslatable(object.at("children"), `has ${children.length} parts; a DRBD disk has data and metadata`);
  return children.map((value, index) => {
    const child = new JsonObject([...object.at("children"), index], value);
    const template = templateOf(child);
    if (template !== "plain")
      throw new NotTranslatable(child.at("dev_type"), `is ${template}; below a DRBD disk are logical volumes`);
    const own = child.textOrNull("uuid");
    const row: ChildDisk = {
      ...common(findings, child, template),
      uuid: own !== null && isUuid(own) ? (own as DiskUuid) : derivedUuid<DiskUuid>(uuid, `child ${index}`),
      logicalId: [...texts(child, ["volume group", "volume"])],
      nodes: [...nodes],
      ivName: "",
    };
    child.ignore("ctime", "mtime", "serial_no", "nodes", "physical_id", "dynamic_params", "children", "forthcoming");
    tellUnknown(findings, child);
    return row;
  });
}
