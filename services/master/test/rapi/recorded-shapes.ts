/** Shapes of recorded answers: which keys there are, and what JSON type each value has. */

/**
 * `null` stands for anything: it was recorded where nothing was known. Keys that not every recorded object has end in
 * `?`; keys of a `map` are data.
 */
export type Shape =
  | "null"
  | "boolean"
  | "number"
  | "string"
  | "any"
  | { readonly list: Shape }
  | { readonly tuple: readonly Shape[] }
  | { readonly map: Shape }
  | { readonly keys: Readonly<Record<string, Shape>> };

/** What of a value is not as recorded, by its place in it. Nothing known (null) is no difference. */
export function shapeDifferences(shape: Shape, value: unknown, place = ""): readonly string[] {
  if (shape === "null" || shape === "any" || value === null) return [];
  const here = place === "" ? "the answer" : `\`${place}\``;
  if (typeof shape === "string") return typeof value === shape ? [] : [`${here} is ${typeOf(value)}, not ${shape}`];
  if ("list" in shape || "tuple" in shape) {
    if (!Array.isArray(value)) return [`${here} is ${typeOf(value)}, not a list`];
    const element = (index: number) => ("list" in shape ? shape.list : (shape.tuple[index] ?? "any"));
    return value.flatMap((each, index) => shapeDifferences(element(index), each, `${place}[]`));
  }
  if (typeof value !== "object" || Array.isArray(value)) return [`${here} is ${typeOf(value)}, not an object`];
  const entries = Object.entries(value);
  if ("map" in shape) return entries.flatMap(([, each]) => shapeDifferences(shape.map, each, `${place}.*`));
  const within = (key: string) => (place === "" ? key : `${place}.${key}`);
  const missing = Object.keys(shape.keys).filter((key) => !key.endsWith("?") && !Object.hasOwn(value, key));
  return [
    ...missing.map((key) => `\`${within(key)}\` is missing`),
    ...entries.flatMap(([key, each]) => {
      const known = shape.keys[key] ?? shape.keys[`${key}?`];
      return known === undefined ? [`\`${within(key)}\` is there, too`] : shapeDifferences(known, each, within(key));
    }),
  ];
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
