/** Changes of an instance's list of NICs or disks, applied one after the other as opcodes carry them. Pure. */
import { OpPrereqError } from "@gannet/errors";
import { checkDeviceName } from "@gannet/objects";
import type { InstanceSetParams, Op } from "@gannet/opcodes";

/** `[operation, position, settings]`; a position is an index, a name or a UUID, and -1 the last, or after the last. */
export type DeviceModification = Op<typeof InstanceSetParams>["nics" | "disks"][number];
type Operation = DeviceModification[0];
type Position = DeviceModification[1];

/** What can stand in such a list. */
export interface Device {
  readonly uuid: string;
  readonly name: string | null;
}

/** One change as it took place; `index` is the device's at that moment. */
export interface DeviceChange<Item, Settings> {
  readonly operation: Operation;
  readonly index: number;
  readonly item: Item;
  readonly settings: Settings;
}

export interface ChangedDevices<Item, Settings> {
  readonly items: readonly Item[];
  readonly changes: readonly DeviceChange<Item, Settings>[];
}

/** What the operations mean; those that are left out are refused. */
export interface DeviceOperations<Item, Settings> {
  /** "NIC", "disk" */
  readonly kind: string;
  readonly most: number;
  add(settings: Settings, index: number): Item;
  attach?(settings: Settings, index: number): Item;
  modify(item: Item, settings: Settings, index: number): Item;
  /** Whether devices may leave the list and live on. */
  readonly canDetach?: true;
}

/** @throws OpPrereqError: wrong_input, unknown_entity, resource_not_unique, wrong_state when there would be too many */
export function changedDevices<Item extends Device, Settings>(
  present: readonly Item[],
  modifications: readonly (readonly [Operation, Position, Settings])[],
  operations: DeviceOperations<Item, Settings>,
): ChangedDevices<Item, Settings> {
  const { kind, most } = operations;
  const items = [...present];
  const changes = modifications.map(([operation, position, settings]): DeviceChange<Item, Settings> => {
    if (operation === "add" || operation === "attach") {
      const index = placeToInsert(kind, items, position);
      const item = operation === "add" ? operations.add(settings, index) : operations.attach?.(settings, index);
      if (item === undefined) throw new OpPrereqError(`A ${kind} cannot be attached: add it`, "wrong_input");
      items.splice(index, 0, item);
      return { operation, index, item, settings };
    }
    const index = placeOf(kind, items, position);
    const item = items[index];
    if (item === undefined) throw new OpPrereqError(`There is no ${kind} ${position}`, "wrong_input");
    if (operation === "modify") {
      const changed = operations.modify(item, settings, index);
      items[index] = changed;
      return { operation, index, item: changed, settings };
    }
    if (operation === "detach" && operations.canDetach !== true)
      throw new OpPrereqError(`A ${kind} cannot be detached: remove it`, "wrong_input");
    items.splice(index, 1);
    return { operation, index, item, settings };
  });
  if (items.length > most && items.length > present.length)
    throw new OpPrereqError(`There would be ${items.length} ${kind}s; the most is ${most}`, "wrong_state");
  checkNames(kind, present, items);
  return { items, changes };
}

function placeToInsert(kind: string, items: readonly Device[], position: Position): number {
  const index = indexIn(position);
  if (index === undefined)
    throw new OpPrereqError(`A new ${kind} goes to an index or to -1, the end, not to '${position}'`, "wrong_input");
  if (index > items.length)
    throw new OpPrereqError(`Got ${kind} index ${index}, but there are only ${items.length}`, "wrong_input");
  return index === -1 ? items.length : index;
}

function placeOf(kind: string, items: readonly Device[], position: Position): number {
  const index = indexIn(position);
  if (index !== undefined) {
    if (index >= items.length || items.length === 0)
      throw new OpPrereqError(`Got ${kind} index ${index}, but there are only ${items.length}`, "wrong_input");
    return index === -1 ? items.length - 1 : index;
  }
  const found = items.findIndex(({ uuid, name }) => uuid === position || name === position);
  if (found < 0) throw new OpPrereqError(`There is no ${kind} named '${position}'`, "unknown_entity");
  return found;
}

/** Digits are an index even as text, as no device's name is made of them. */
function indexIn(position: Position): number | undefined {
  if (typeof position === "number") return position;
  return /^(?:-1|\d{1,6})$/.test(position) ? Number(position) : undefined;
}

function checkNames(kind: string, present: readonly Device[], items: readonly Device[]): void {
  const names = items.flatMap(({ name }) => name ?? []);
  const known = new Set(present.map(({ name }) => name));
  for (const name of names.filter((each) => !known.has(each))) checkDeviceName(name);
  const twice = names.find((name, position) => names.indexOf(name) !== position);
  if (twice !== undefined)
    throw new OpPrereqError(`The ${kind} name '${twice}' would be used twice`, "resource_not_unique");
}
