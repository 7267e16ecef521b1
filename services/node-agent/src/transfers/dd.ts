/** dd(1): what it is given, and what it tells of its progress (spec/node-ops.json, `import_export_daemon.dd`). */

export const DD = "/bin/dd";
const BLOCK_BYTES = 1024 * 1024;

/** Reads and writes what is named, else its standard input and output. */
export function ddArgv(options: {
  readonly from?: string;
  readonly to?: string;
  /** What is written is on disk before it ends. */
  readonly durable?: boolean;
}): readonly [string, ...string[]] {
  const { from, to, durable = false } = options;
  const conversions = [...(to === undefined ? [] : ["nocreat", "notrunc"]), ...(durable ? ["fsync"] : [])];
  return [
    DD,
    `bs=${BLOCK_BYTES}`,
    "iflag=fullblock",
    ...(from === undefined ? [] : [`if=${from}`]),
    ...(to === undefined ? [] : [`of=${to}`]),
    ...(conversions.length === 0 ? [] : [`conv=${conversions.join(",")}`]),
  ];
}

/** Takes this many bytes off its input and prints them. */
export function ddHeadArgv(bytes: number): readonly [string, ...string[]] {
  return [DD, `bs=${bytes}`, "count=1", "iflag=fullblock", "status=none"];
}

/** Bytes copied, of the line that dd prints at SIGUSR1 and at its end; undefined for any other line. */
export function parseDdBytes(line: string): number | undefined {
  const [, bytes] = /^(\d+) bytes? .*copied, [\d.e+-]+ s(?:econds)?, /.exec(line) ?? [];
  return bytes === undefined ? undefined : Number(bytes);
}

/** The lines around it. */
export function isDdRecordCount(line: string): boolean {
  return /^\d+\+\d+ records (in|out)$/.test(line);
}
