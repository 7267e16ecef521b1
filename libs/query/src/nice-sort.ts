/** The order in which lists show names: numbers inside them count as numbers, so that node2 precedes node10. */

type Key = readonly (string | number)[];

/** The items in the order of their names. */
export function niceSort<T>(items: Iterable<T>, nameOf: (item: T) => string): T[] {
  return Array.from(items, (item) => ({ item, key: keyOf(nameOf(item)) }))
    .sort((a, b) => compareKeys(a.key, b.key))
    .map(({ item }) => item);
}

/** Text and numbers by turns, beginning with text; BigInt would be needed only beyond 2^53. */
function keyOf(name: string): Key {
  return name.split(/(\d+)/).map((part, index) => (index % 2 === 1 ? Number(part) : part));
}

function compareKeys(a: Key, b: Key): number {
  for (let index = 0; index < a.length && index < b.length; index++) {
    const [left = "", right = ""] = [a[index], b[index]];
    if (left !== right) return left < right ? -1 : 1;
  }
  return a.length - b.length;
}
