/** The tables that lvs, vgs and pvs print. */
import type { ToolAnswer } from "../faults.ts";
import { formatSize } from "./sizes.ts";
import { LvmFailure } from "./tool.ts";

/** A column: its heading, and its value of a row; a number is a size in bytes unless the column is a count. */
export interface Column<Row> {
  readonly heading: string;
  readonly value: (row: Row) => string | number;
  readonly kind?: "text" | "size" | "count";
  /** At least, in characters. */
  readonly width?: number;
}

export type Columns<Row> = Readonly<Record<string, Column<Row>>>;

export interface ReportOptions {
  readonly noheadings?: boolean | undefined;
  readonly nosuffix?: boolean | undefined;
  readonly units?: string | undefined;
  readonly separator?: string | undefined;
  readonly options?: string | undefined;
}

/** What every report takes; `--unbuffered` prints each row at once, without aligning them. */
export const REPORT_OPTIONS = {
  noheadings: { type: "boolean" },
  nosuffix: { type: "boolean" },
  unbuffered: { type: "boolean" },
  units: { type: "string" },
  separator: { type: "string" },
  options: { type: "string", short: "o" },
} as const;

/** The names of the columns asked for, which need no prefix: `size` is `vg_size` for vgs. */
export function columnNames<Row>(columns: Columns<Row>, standard: readonly string[], asked?: string): string[] {
  if (asked === undefined) return [...standard];
  const extends_ = asked.startsWith("+");
  const names = asked.replace(/^\+/, "").split(",");
  const resolved = names.map((name) => {
    const prefix = standard[0]?.split("_")[0];
    const found = [name, `${prefix}_${name}`].find((candidate) => Object.hasOwn(columns, candidate));
    if (found === undefined) throw new LvmFailure(`  Unrecognised field: ${name}`);
    return found;
  });
  return extends_ ? [...standard, ...resolved] : resolved;
}

export function printReport<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: ReportOptions,
): string {
  const headings = columns.map(({ heading }) => heading);
  const cells = rows.map((row) => columns.map((column) => cell(column, row, options)));
  if (rows.length === 0) return "";
  if (options.separator !== undefined)
    return lines((options.noheadings ? cells : [headings, ...cells]).map((each) => each.join(options.separator)));
  const shown = options.noheadings ? cells : [headings, ...cells];
  const widths = columns.map(({ width = 0 }, index) =>
    Math.max(width, ...shown.map((each) => each[index]?.length ?? 0)),
  );
  const aligned = shown.map((each, line) =>
    each
      .map((text, index) => {
        const isNumber = columns[index]?.kind !== undefined && columns[index]?.kind !== "text";
        const isHeading = !options.noheadings && line === 0;
        const width = widths[index] ?? 0;
        return isNumber && !isHeading ? text.padStart(width) : text.padEnd(width);
      })
      .join(" "),
  );
  return lines(aligned);
}

export function answerOf(stdout: string, warnings: readonly string[]): ToolAnswer {
  return { exitCode: 0, stdout, stderr: lines(warnings) };
}

function cell<Row>(column: Column<Row>, row: Row, { units, nosuffix }: ReportOptions): string {
  const value = column.value(row);
  if (column.kind !== "size" || typeof value === "string") return String(value);
  return formatSize(value, units ?? "r", nosuffix ? "none" : "short");
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `  ${text}\n`).join("");
}
