/** Keeping values of OS parameters out of what ends in a job's result: a script may print its parameters. */

/** Where the beginning of a text was left out, as libs/exec marks it in an error. */
export const CUT = "…";

const MASK = "***";

/** Shorter values are left: nobody's secret, and masking every `1` would make errors unreadable. */
const SHORTEST_SECRET = 4;

/** Where a secret stands in a text: from `start`, up to but not including `end`. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * A text without secrets: each by itself, trimmed, and each line of one that has several, wherever one begins in
 * another. Directly behind a {@link CUT}, the end of one is masked too. Cut texts afterwards, or mark where they are cut.
 */
export function masked(text: string, secrets: readonly string[]): string {
  const forms = new Set(secrets.flatMap(formsOf).filter((form) => form.length >= SHORTEST_SECRET));
  const ranges = [...forms].flatMap((form) => [...occurrences(text, form), ...cutOccurrences(text, form)]);
  let result = "";
  let at = 0;
  for (const { start, end } of joined(ranges)) {
    result += text.slice(at, start) + MASK;
    at = end;
  }
  return result + text.slice(at);
}

/** What of a secret is seen of it in texts that were trimmed, or are told line by line. */
function formsOf(secret: string): readonly string[] {
  return [secret, secret.trim(), ...secret.split(/[\r\n]+/).map((line) => line.trim())];
}

function occurrences(text: string, form: string): readonly Range[] {
  const found: Range[] = [];
  for (let start = text.indexOf(form); start !== -1; start = text.indexOf(form, start + 1))
    found.push({ start, end: start + form.length });
  return found;
}

function cutOccurrences(text: string, form: string): readonly Range[] {
  return occurrences(text, CUT).flatMap(({ end: start }) => {
    for (let lost = 1; form.length - lost >= SHORTEST_SECRET; lost += 1)
      if (text.startsWith(form.slice(lost), start)) return [{ start, end: start + form.length - lost }];
    return [];
  });
}

/** In order, those that overlap as one. */
function joined(ranges: readonly Range[]): readonly Range[] {
  const result: Range[] = [];
  for (const range of ranges.toSorted((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last === undefined || range.start >= last.end) result.push(range);
    else if (range.end > last.end) result.splice(-1, 1, { start: last.start, end: range.end });
  }
  return result;
}
