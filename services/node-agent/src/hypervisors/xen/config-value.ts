/** Values as xl.cfg(5) and xm's configuration write them: Python's literals. */
import { HypervisorError } from "@gannet/errors";

export type ConfigValue = string | number | readonly string[];

/** A comma separates the parts of a disk or network card; a line end, a line of the file. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is what it is for
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;

/** `key = value`, a line each. @throws HypervisorError when a value cannot be written */
export function configText(entries: readonly (readonly [key: string, value: ConfigValue])[]): string {
  return entries.map(([key, value]) => `${key} = ${literal(key, value)}\n`).join("");
}

function literal(key: string, value: ConfigValue): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return quoted(key, value);
  return `[ ${value.map((item) => quoted(key, item)).join(", ")} ]`;
}

function quoted(key: string, text: string): string {
  if (CONTROL_CHARACTER.test(text))
    throw new HypervisorError(`${key} holds a control character, which Xen's configuration cannot`);
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}

/** One part of a disk's or network card's description. @throws HypervisorError when it holds a separator */
export function listPart(what: string, text: string): string {
  if (text.includes(",") || CONTROL_CHARACTER.test(text))
    throw new HypervisorError(`${what} ${JSON.stringify(text)} holds a comma or a control character`);
  return text;
}
