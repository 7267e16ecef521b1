/** An instance's disks after OP_INSTANCE_SET_PARAMS: what was asked, checked, and the rows that it comes to. Pure. */
import path from "node:path";
import type { ConfigChange } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import {
  askedDeviceName,
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  type DiskTemplate,
  type DiskUuid,
  diskIvName,
  type Instance,
  MAX_DISKS,
  type Node,
  type Parameters,
} from "@gannet/objects";
import type { ChangeList, SetParamsOp } from "./changed-parameters.ts";
import { checkExclusiveStorage, usableTemplate } from "./create-plan.ts";
import { changedDevices, type DeviceChange } from "./device-changes.ts";
import type { HotplugOutcomes } from "./device-hotplug.ts";
import type { PlacedDisk } from "./disk-ends.ts";
import { type DiskIdentity, type DiskSite, newDiskIdentity } from "./disk-rows.ts";
import { removeDiskRows } from "./instance-rows.ts";
import { type PlannedDisk, plannedDisks } from "./planned-disks.ts";

type Settings = SetParamsOp["disks"][number][2];

/** A disk that is made for the instance. */
export interface NewDiskPlan {
  readonly disk: PlannedDisk;
  readonly identity: DiskIdentity;
}

/** A disk as it is to be. */
interface DiskDraft {
  readonly uuid: DiskUuid;
  readonly name: string | null;
  readonly mode: "ro" | "rw";
  /** Those it sets itself. */
  readonly params: Parameters;
  readonly sizeMib: number;
  readonly made: NewDiskPlan | null;
}

export interface DiskChangePlan {
  readonly drafts: readonly DiskDraft[];
  readonly changes: readonly DeviceChange<DiskDraft, Settings>[];
  readonly template: DiskTemplate;
  /** In the order of their places. */
  readonly made: readonly NewDiskPlan[];
  /** Disks that leave the instance, each with the place that it has now. */
  readonly removed: readonly PlacedDisk[];
  readonly detached: readonly PlacedDisk[];
}

/** Settings that every disk can be given anew. */
const MODIFIABLE: readonly string[] = ["mode", "name"];

interface DiskContext {
  readonly view: ConfigView;
  readonly instance: Instance;
  readonly primary: Node;
  readonly secondary: Node | null;
  readonly template: DiskTemplate;
  readonly op: SetParamsOp;
}

/** @throws OpPrereqError naming the disk: wrong_input, unknown_entity, resource_not_unique, wrong_state */
export function planDisks(view: ConfigView, instance: Instance, primary: Node, op: SetParamsOp): DiskChangePlan {
  const present = view.disksOf(instance);
  const [secondary] = view.secondaryNodes(instance);
  const template = templateWith(view, instance, op);
  const context: DiskContext = {
    ...{ view, instance, primary, template, op },
    secondary: (secondary && view.nodes.get(secondary)) ?? null,
  };
  const { items, changes } = changedDevices<DiskDraft, Settings>(present.map(draftOf), op.disks, {
    kind: "disk",
    most: MAX_DISKS,
    canDetach: true,
    add: (settings, index) => newDraft(context, settings, index),
    attach: (settings, index) => attachedDraft(context, settings, `Disk ${index}`),
    modify: (disk, settings, index) => modifiedDraft(disk, settings, template, `Disk ${index}`),
  });
  const leaves = (operation: string) =>
    present.flatMap((disk, index): PlacedDisk[] => {
      const isKept = items.some(({ uuid }) => uuid === disk.uuid);
      const leaving = changes.findLast(({ item }) => item.uuid === disk.uuid);
      return !isKept && leaving?.operation === operation ? [{ index, disk }] : [];
    });
  const made = items.flatMap(({ made: each }) => each ?? []);
  checkExclusiveStorage(view, {
    node: primary,
    secondary: context.secondary,
    template,
    disks: made.map(({ disk }) => disk),
  });
  return {
    drafts: items,
    changes,
    // Without a disk an instance is of no template (as in Ganeti, where it is worked out from the disks).
    template: items.length === 0 ? "diskless" : template,
    made,
    removed: leaves("remove"),
    detached: leaves("detach"),
  };
}

/** The template of the disks that there will be: of an instance without any, the one that the first is asked with. */
function templateWith(view: ConfigView, instance: Instance, { disks }: SetParamsOp): DiskTemplate {
  if (instance.diskTemplate !== "diskless") return instance.diskTemplate;
  const [first] = disks.filter(([operation]) => operation === "add" || operation === "attach");
  if (first === undefined) return "diskless";
  const [operation, , settings] = first;
  const asked = operation === "attach" ? attachable(view, settings, "The disk").template : settings.dev_type;
  if (asked === undefined || asked === "diskless")
    throw new OpPrereqError(
      `${instance.name} has no disks: say of which template the new one is to be (dev_type)`,
      "wrong_input",
    );
  if (operation === "add" && DISK_TEMPLATE_TRAITS[asked].needsSecondary)
    throw new OpPrereqError(
      `A disk of template ${asked} needs a secondary node, and ${instance.name} has none: add a plain one, and change ` +
        "the disk template afterwards",
      "wrong_input",
    );
  return usableTemplate(view, asked);
}

function draftOf({ uuid, name, mode, params, sizeMib }: Disk): DiskDraft {
  return { uuid, name, mode, params, sizeMib, made: null };
}

function newDraft(context: DiskContext, settings: Settings, index: number): DiskDraft {
  const { view, instance, primary, template, op } = context;
  if (settings.adopt !== undefined)
    throw new OpPrereqError(`Disk ${index}: devices are adopted when an instance is created, not later`, "wrong_input");
  const [planned] = plannedDisks(view, [settings], { template, instanceName: instance.name, primary, files: op });
  if (planned === undefined) throw new Error(`disk ${index} was not planned`);
  const disk = { ...planned, index: freeNumber(context, index), site: siteBeside(context, planned.site) };
  const identity = newDiskIdentity();
  const { name, mode, params, sizeMib } = disk;
  return { uuid: identity.uuid, name, mode, params, sizeMib, made: { disk, identity } };
}

/** A new file lies beside those that the instance has. */
function siteBeside({ view, instance }: DiskContext, site: DiskSite): DiskSite {
  if (site.template !== "file" && site.template !== "sharedfile") return site;
  const [first] = view.disksOf(instance);
  if (first === undefined) return site;
  return { ...site, directory: path.posix.dirname(String(first.logicalId[1])) };
}

/** Files of gluster disks are named by a number alone, which another disk may have although its place has changed. */
function freeNumber({ view, instance, template }: DiskContext, index: number): number {
  if (template !== "gluster") return index;
  const used = new Set(
    [...view.disks.values()].filter((disk) => disk.template === "gluster").map(({ logicalId }) => String(logicalId[1])),
  );
  let number = index;
  while ([...used].some((file) => file.endsWith(`/${instance.uuid}.${number}`))) number += 1;
  return number;
}

/** A disk of the configuration that no instance has. @throws OpPrereqError: wrong_input, unknown_entity, wrong_state */
function attachable(view: ConfigView, { uuid, name }: Settings, where: string): Disk {
  const wanted = uuid ?? name;
  if (wanted === undefined || (uuid !== undefined && name !== undefined))
    throw new OpPrereqError(`${where}: a disk is attached by its uuid or its name`, "wrong_input");
  const found = [...view.disks.values()].filter((disk) =>
    uuid === undefined ? disk.name === wanted : disk.uuid === wanted,
  );
  const [disk] = found;
  if (disk === undefined) throw new OpPrereqError(`${where}: there is no disk '${wanted}'`, "unknown_entity");
  if (found.length > 1)
    throw new OpPrereqError(`${where}: several disks are named '${wanted}'; give the uuid`, "wrong_input");
  refuseOwned(view, disk, where);
  return disk;
}

/** @throws OpPrereqError (wrong_state) when an instance has the disk */
function refuseOwned(view: ConfigView, { uuid, name }: Disk, where: string): void {
  const owner = [...view.instances.values()].find(({ disks }) => disks.includes(uuid));
  if (owner === undefined) return;
  throw new OpPrereqError(
    `${where}: disk '${name ?? uuid}' belongs to instance ${owner.name}; detach it there`,
    "wrong_state",
  );
}

function attachedDraft(context: DiskContext, settings: Settings, where: string): DiskDraft {
  const { view, instance, template } = context;
  const disk = attachable(view, settings, where);
  if (disk.template !== template)
    throw new OpPrereqError(
      `${where}: its template is ${disk.template}, and ${instance.name} has disks of template ${template}`,
      "wrong_input",
    );
  if (DISK_TEMPLATE_TRAITS[template].mirroring === "external") return draftOf(disk);
  const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)];
  const isThere = disk.nodes.includes(instance.primaryNode);
  if (!isThere || (instance.disks.length > 0 && nodes.some((node) => !disk.nodes.includes(node))))
    throw new OpPrereqError(`${where}: it is on other nodes than ${instance.name}`, "wrong_input");
  return draftOf(disk);
}

function modifiedDraft(disk: DiskDraft, settings: Settings, template: DiskTemplate, where: string): DiskDraft {
  if (settings.size !== undefined)
    throw new OpPrereqError(`${where}: the size of a disk is changed by growing it`, "wrong_input");
  const others = Object.entries(settings).filter(([key]) => !MODIFIABLE.includes(key));
  const [foreign] = others;
  if (foreign !== undefined && template !== "ext")
    throw new OpPrereqError(
      `${where}: '${foreign[0]}' of a disk of template ${template} cannot be changed`,
      "wrong_input",
    );
  const fixed = others.find(([key]) => ["adopt", "provider", "dev_type", "spindles"].includes(key));
  if (fixed !== undefined)
    throw new OpPrereqError(`${where}: '${fixed[0]}' of a disk cannot be changed`, "wrong_input");
  const params = { ...disk.params };
  for (const [key, value] of others) {
    if (value === undefined) continue;
    if (value === "default") delete params[key];
    else params[key] = value;
  }
  return {
    ...disk,
    mode: settings.mode ?? disk.mode,
    name: settings.name === undefined ? disk.name : askedDeviceName(settings.name),
    params,
  };
}

/**
 * The disks' rows as they are to be, once the new ones have theirs; each row is written once. Those of disks that are
 * attached are written in any case: two instances that want one of them at once write the same row.
 * @throws OpPrereqError (wrong_state) when another instance has got one of them meanwhile
 */
export function writtenDisks(
  view: ConfigView,
  instance: Instance,
  { drafts, removed }: DiskChangePlan,
): readonly ConfigChange[] {
  const written = drafts.flatMap(({ uuid, name, mode, params, made }, index): ConfigChange[] => {
    const row = view.disks.get(uuid);
    if (row === undefined) return [];
    const isAttached = made === null && !instance.disks.includes(uuid);
    if (isAttached) refuseOwned(view, row, `Disk ${index}`);
    const ivName = diskIvName(index);
    const isSame = row.name === name && row.mode === mode && row.ivName === ivName && sameValues(row.params, params);
    return isSame && !isAttached ? [] : [{ kind: "disk", put: { ...row, name, mode, params, ivName } }];
  });
  return [
    ...written,
    ...removeDiskRows(
      view,
      removed.map(({ disk }) => disk.uuid),
    ),
  ];
}

function sameValues(a: Parameters, b: Parameters): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => a[name] === b[name]);
}

/** What clients are told of the disks; spellings are Ganeti's. */
export function diskChanges({ changes }: DiskChangePlan, hotplugged: HotplugOutcomes): ChangeList {
  return changes.flatMap(({ operation, index, item, settings }): ChangeList => {
    const outcome = hotplugged.get(item.uuid);
    const inGuest: ChangeList = outcome === undefined ? [] : [[`disk/${index}`, outcome]];
    if (operation === "modify")
      return Object.entries(settings).map(([key, value]) =>
        MODIFIABLE.includes(key)
          ? [`disk.${key}/${index}`, key === "name" ? item.name : value]
          : [`disk.params:${key}/${index}`, value],
      );
    const isNew = operation === "add" || operation === "attach";
    const what = isNew ? `${operation}:size=${item.sizeMib},mode=${item.mode}` : operation;
    return [[`disk/${index}`, what], ...inGuest];
  });
}
