/** Rows of text in columns. Pure. */

export interface Column {
  readonly title: string;
  readonly isRight: boolean;
}

export interface TableOptions {
  readonly headers: boolean;
  /** Between the fields of a line; absent: columns of one width each. */
  readonly separator?: string | undefined;
}

/** The lines of a table. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { headers, separator }: TableOptions,
): readonly string[] {
  const printable = rows.map((row) => row.map(onOneLine));
  const all = headers ? [columns.map(({ title }) => title), ...printable] : printable;
  if (separator !== undefined) return all.map((row) => row.join(separator));
  const widths = columns.map((_column, index) => all.reduce((width, row) => Math.max(width, widthOf(row[index])), 0));
  return all.map((row) =>
    row
      .map((cell, index) => padded(cell, widths[index] ?? 0, columns[index]?.isRight === true))
      .join(" ")
      .trimEnd(),
  );
}

function widthOf(cell = ""): number {
  return [...cell].length;
}

function padded(cell: string, width: number, isRight: boolean): string {
  const filling = " ".repeat(Math.max(0, width - widthOf(cell)));
  return isRight ? filling + cell : cell + filling;
}

/** Nothing that a cell holds may break a line or move the cursor of a terminal. */
function onOneLine(cell: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: keeping them out is what this is for
  return cell.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, " ");
}
