/** Objects in a form to read, a line for each value and its place shown by indentation. Pure. */

const INDENT = "  ";

/** The lines that describe a value: `name: web1`, lists with a dash, objects below their names. */
export function describeLines(value: unknown, depth = 0): readonly string[] {
  const margin = INDENT.repeat(depth);
  if (!isContainer(value)) return [margin + scalarText(value)];
  if (Array.isArray(value)) return value.flatMap((item) => itemLines(item, depth));
  return Object.entries(value as object).flatMap(([key, entry]: [string, unknown]) => {
    if (!isContainer(entry) || isEmpty(entry)) return [`${margin}${key}: ${scalarText(entry)}`];
    if (Array.isArray(entry) && entry.every((item) => !isContainer(item)))
      return [`${margin}${key}: ${entry.map(scalarText).join(", ")}`];
    return [`${margin}${key}:`, ...describeLines(entry, depth + 1)];
  });
}

function itemLines(item: unknown, depth: number): readonly string[] {
  const margin = INDENT.repeat(depth);
  if (!isContainer(item) || isEmpty(item)) return [`${margin}- ${scalarText(item)}`];
  if (Array.isArray(item) && item.every((part) => !isContainer(part)))
    return [`${margin}- ${item.map(scalarText).join(", ")}`];
  const [first = "", ...rest] = describeLines(item, depth + 1);
  return [`${margin}- ${first.slice(margin.length + INDENT.length)}`, ...rest];
}

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

function scalarText(value: unknown): string {
  if (value === null || value === undefined) return "-";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return Array.isArray(value) ? "none" : "{}";
  if (typeof value === "number") return String(value);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a value must not move a terminal's cursor
  return String(value).replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, " ");
}
