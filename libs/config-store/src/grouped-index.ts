/** Entities by something they have in common, such as their node: lists sorted by name, immutable like the tables. */
import { LayeredMap } from "./layered-map.ts";

/** What can be listed: uuids tell entities apart, names order them. */
export interface Named {
  readonly uuid: string;
  readonly name: string;
}

/** An entity under the key that it is, or was, listed by. */
export type Listing<E extends Named> = readonly [key: string, entity: E];

export class GroupedIndex<E extends Named> {
  readonly #lists: LayeredMap<string, readonly E[]>;

  private constructor(lists: LayeredMap<string, readonly E[]>) {
    this.#lists = lists;
  }

  static empty<E extends Named>(): GroupedIndex<E> {
    return new GroupedIndex<E>(LayeredMap.empty());
  }

  /** Sorted by name; the same list until one of its entities changes. */
  get(key: string): readonly E[] {
    return this.#lists.get(key) ?? [];
  }

  /** Only the lists named in the edits are made anew. */
  with(edits: { readonly removed: readonly Listing<E>[]; readonly added: readonly Listing<E>[] }): GroupedIndex<E> {
    const removed = Map.groupBy(edits.removed, ([key]) => key);
    const added = Map.groupBy(edits.added, ([key]) => key);
    const keys = new Set([...removed.keys(), ...added.keys()]);
    return new GroupedIndex(
      this.#lists.with(
        [...keys].map((key) => {
          const list = edited(this.get(key), entitiesOf(removed.get(key)), entitiesOf(added.get(key)));
          return [key, list.length > 0 ? list : undefined];
        }),
      ),
    );
  }
}

function entitiesOf<E extends Named>(listings: readonly Listing<E>[] = []): readonly E[] {
  return listings.map(([, entity]) => entity);
}

/** An entity that keeps its name keeps its place: most changes copy a list and put one entity into it. */
function edited<E extends Named>(list: readonly E[], removed: readonly E[], added: readonly E[]): readonly E[] {
  const result = [...list];
  const fresh = new Map(added.map((entity) => [entity.uuid, entity]));
  for (const entity of removed) {
    const place = placeOf(result, entity);
    const successor = fresh.get(entity.uuid);
    if (successor?.name === entity.name) {
      result[place] = successor;
      fresh.delete(entity.uuid);
    } else result.splice(place, 1);
  }
  if (fresh.size === 0) return result;
  result.push(...fresh.values());
  return result.sort(byName);
}

/** Where a listed entity stands. */
function placeOf(list: readonly Named[], { uuid, name }: Named): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.name ?? "") < name) low = middle + 1;
    else high = middle;
  }
  // In plain rows that no store has checked names may be double.
  return list[low]?.uuid === uuid ? low : list.findIndex((entity) => entity.uuid === uuid);
}

function byName(a: Named, b: Named): number {
  if (a.name === b.name) return 0;
  return a.name < b.name ? -1 : 1;
}
