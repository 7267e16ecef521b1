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
