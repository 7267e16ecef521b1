/** What DRBD 8.4.11 and its tools answered on two real nodes, in the order they were asked (session-8.4.txt). */
import { readFileSync } from "node:fs";
import path from "node:path";

export interface RecordedCall {
  readonly node: string;
  /** As it was typed. */
  readonly command: string;
  readonly output: string;
}

const HEAD = /^== (\w+)# (.*)$/;
const END = /^\[rc=\d+ \d+ms\]$/;

export function recordedCalls(): readonly RecordedCall[] {
  const calls: { node: string; command: string; output: string }[] = [];
  for (const line of readFileSync(path.join(import.meta.dirname, "session-8.4.txt"), "utf8").split("\n")) {
    const [, node, command] = HEAD.exec(line) ?? [];
    const last = calls.at(-1);
    if (node !== undefined && command !== undefined) calls.push({ node, command, output: "" });
    else if (last !== undefined && !END.test(line)) last.output += `${line}\n`;
  }
  return calls;
}

/** The output of the first call that begins so, of those after `after`. */
export function recorded(node: string, beginning: string, after = 0): string {
  const found = recordedCalls()
    .slice(after)
    .find((call) => call.node === node && call.command.startsWith(beginning));
  if (found === undefined) throw new Error(`${beginning} was not recorded on ${node}`);
  return found.output;
}

/** Of the I/O that is not counted, of random identifiers, of the kernel, and of a resync's speed. */
export function comparable(text: string): string {
  return text
    .replace(/\b(ns|nr|dw|dr|al|bm|lo|pe|ua|ap|read|written|al-writes|received|sent|unacked):\d+/g, "$1:N")
    .replace(/^srcversion: .*$/gm, "srcversion: OF THIS KERNEL")
    .replace(/\b[0-9A-F]{16}\b/g, (uuid) => (/^0+[04]?$/.test(uuid) ? uuid : "UUID"))
    .replace(/^\t\[.*\n\tfinish.*$/gm, "\tprogress")
    .replace(/(oos|out-of-sync):[1-9]\d*/g, "$1:SOME");
}

/** Recorded lines that ask for what is not simulated, or say what only the real thing can. */
const NOT_COMPARED = [
  /^for i in/,
  /dump-md/,
  /^dd if=\/dev\/urandom/,
  /^dd if=\/dev\/drbd0/,
  /^echo/,
  /lvextend/,
  /role 0;/,
  /--verbose/,
  /show-gi/,
  /blockdev --getsize64 \/dev\/drbd0$/,
  /resize/,
];

/** Of a line as {@link withoutClearing} leaves it. */
export function isCompared(line: string): boolean {
  return !NOT_COMPARED.some((pattern) => pattern.test(line));
}

/** A recorded line without what overwrites a volume before it is given metadata. */
export function withoutClearing(command: string): string {
  return command.replace(/^dd if=\/dev\/zero[^;]*; /, "");
}
