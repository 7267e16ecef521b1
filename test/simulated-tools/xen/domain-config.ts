/** What the simulated `xl` understands of a configuration file (xl.cfg(5)). */
import { XlFailure } from "./tool.ts";

export interface DomainConfig {
  readonly name: string;
  readonly uuid: string;
  readonly memoryMib: number;
  readonly maxMemoryMib: number;
  readonly vcpus: number;
}

const STRING = String.raw`"(?:[^"\\]|\\.)*"`;
const LINE = new RegExp(String.raw`^(\w+) = (\d+|${STRING}|\[ (?:${STRING}(?:, ${STRING})*)? ?\])$`);

/** @throws XlFailure naming the line that cannot be read */
export function parseDomainConfig(text: string, file: string): DomainConfig {
  const entries = new Map(
    text
      .trimEnd()
      .split("\n")
      .map((line, index): [string, string] => {
        const [, key, value] = LINE.exec(line) ?? [];
        if (key === undefined || value === undefined) throw unreadable(file, index + 1, line);
        return [key, value.replaceAll(/^"|"$/g, "")];
      }),
  );
  const needed = (key: string): string => {
    const value = entries.get(key);
    if (value === undefined) throw new XlFailure(`${file}: no ${key}`);
    return value;
  };
  const memoryMib = Number(needed("memory"));
  return {
    name: needed("name"),
    uuid: needed("uuid"),
    memoryMib,
    maxMemoryMib: Number(entries.get("maxmem") ?? memoryMib),
    vcpus: Number(needed("vcpus")),
  };
}

/** In the words for a text without its end; what else can be wrong has others. */
function unreadable(file: string, number: number, line: string): XlFailure {
  const near = line.replace(/^\w+ = /, "");
  return new XlFailure(
    [
      `Parsing config from ${file}`,
      `${file}:${number}: config parsing error near \`${near}': lexical error`,
      "Failed to parse config: Invalid argument",
    ].join("\n"),
  );
}
