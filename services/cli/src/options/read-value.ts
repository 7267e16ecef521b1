/** Values as they stand on a command line, read for their kinds. Pure, but for files that `@file` names. */
import { readFileSync } from "node:fs";
import { OpPrereqError } from "@gannet/errors";
import type { ScalarKind, SettingKind, ValueKind } from "./value-kind.ts";

/** Far above any list of instances or certificate that an operator has in a file. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * @param name what the value is for, named in refusals
 * @throws OpPrereqError wrong_input
 */
export function readValue(kind: ValueKind, text: string, name: string): unknown {
  switch (kind.kind) {
    case "flag":
      return readSwitch(text, name);
    case "number":
    case "text":
    case "word":
      return readScalar(kind, text, name);
    case "list":
      return splitEscaped(text, ",")
        .filter((item) => item !== "")
        .map((item) => readScalar(kind.item, item, name));
    case "settings":
      return readSettings(kind.names, kind.value, text, name);
    case "json":
      return kind.words?.includes(text) ? text : readJson(text, name);
  }
}

const SECONDS_OF: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Seconds, or a whole number with a unit: `90`, `30m`, `2h`, `1d`, `1w`. @throws OpPrereqError wrong_input */
export function readDuration(text: string, name: string): number {
  const [, count = "", unit = ""] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  return unit === "" ? readNumber(text, name) : Number(count) * (SECONDS_OF[unit] ?? 1);
}

/** Put what one more use of an option gives to what was given before: lists grow, settings are joined. */
export function joinValues(kind: ValueKind, before: unknown, more: unknown): unknown {
  if (kind.kind === "list" && Array.isArray(before) && Array.isArray(more)) return [...before, ...more];
  if (kind.kind === "settings" && isObject(before) && isObject(more)) return joinSettings(before, more);
  return more;
}

function joinSettings(before: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>>): unknown {
  const joined = Object.entries(more).map(([key, value]) => {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    return [key, isObject(old) && isObject(value) ? joinSettings(old, value) : value];
  });
  return { ...before, ...Object.fromEntries(joined) };
}

/** `yes` and `no`, as Ganeti's switches of three states are given. */
export function readSwitch(text: string, name: string): boolean {
  const word = text.toLowerCase();
  if (["yes", "true", "1", "on"].includes(word)) return true;
  if (["no", "false", "0", "off"].includes(word)) return false;
  throw wrong(`${name} takes yes or no, not ${JSON.stringify(text)}`);
}

function readScalar(kind: ScalarKind, text: string, name: string): string | number {
  if (kind.kind === "text") return text;
  if (kind.kind === "number") return readNumber(text, name);
  const word = kind.words.find((known) => String(known) === text);
  if (word !== undefined) return word;
  throw wrong(`${name} takes one of ${kind.words.join(", ")}, not ${JSON.stringify(text)}`);
}

function readNumber(text: string, name: string): number {
  if (/^[+-]?\d{1,15}(\.\d+)?$/.test(text)) return Number(text);
  throw wrong(`${name} takes a number, not ${JSON.stringify(text)}`);
}

/**
 * `key=value,key=value`; a key alone is true, `no_key` false and `-key` null. Commas and backslashes in values have a
 * backslash before them. A text that begins with `{` is JSON, and `@file` is a file with it.
 */
function readSettings(names: number | null, value: SettingKind, text: string, name: string): unknown {
  if (/^\s*[{@]/.test(text)) return readJson(text, name);
  const wanted = names ?? (/^[\w+.-]+:/.test(text) ? 1 : 0);
  let rest = text;
  const path: string[] = [];
  for (let level = 0; level < wanted; level++) {
    const colon = rest.indexOf(":");
    if (colon < 1) throw wrong(`${name} is given as ${"NAME:".repeat(wanted)}key=value,…, not ${JSON.stringify(text)}`);
    path.push(rest.slice(0, colon));
    rest = rest.slice(colon + 1);
  }
  const settings = readKeyValues(rest, name, value);
  return path.reduceRight<unknown>((inner, level) => ({ [level]: inner }), settings);
}

/** What stands between commas, as an object. */
export function readKeyValues(text: string, name: string, value: SettingKind = "text"): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const part of splitEscaped(text, ",")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const [key, setting] =
      equals >= 0 ? [part.slice(0, equals), settingOf(part.slice(equals + 1), value, name)] : bareKey(part);
    if (key === "") throw wrong(`${name} has a value without a key in ${JSON.stringify(text)}`);
    if (Object.hasOwn(settings, key)) throw wrong(`${name} has '${key}' twice`);
    settings[key] = setting;
  }
  return settings;
}

function bareKey(part: string): [key: string, value: boolean | null] {
  if (part.startsWith("no_")) return [part.slice(3), false];
  if (part.startsWith("-")) return [part.slice(1), null];
  return [part, true];
}

function settingOf(text: string, kind: SettingKind, name: string): unknown {
  if (kind === "number") return readNumber(text, name);
  if (kind === "boolean") return readSwitch(text, name);
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return kind === "any" && /^-?\d{1,15}(\.\d+)?$/.test(text) ? Number(text) : text;
}

/** Split at a character that has no backslash before it; backslashes that protect something go. */
export function splitEscaped(text: string, separator: string): readonly string[] {
  const parts = [""];
  for (let index = 0; index < text.length; index++) {
    const character = text[index] ?? "";
    const next = text[index + 1];
    if (character === "\\" && (next === separator || next === "\\")) {
      parts.push(`${parts.pop()}${next}`);
      index++;
    } else if (character === separator) parts.push("");
    else parts.push(`${parts.pop()}${character}`);
  }
  return parts;
}

/** JSON, or `@file` with it. */
function readJson(text: string, name: string): unknown {
  const source = text.startsWith("@") ? readFile(text.slice(1), name) : text;
  try {
    return JSON.parse(source);
  } catch (error) {
    throw wrong(`${name} takes JSON, or @FILE with it: ${(error as Error).message}`);
  }
}

/** A file's text; `-` is what stands on standard input. @throws OpPrereqError wrong_input */
export function readFile(path: string, name: string): string {
  try {
    const content = readFileSync(path === "-" ? 0 : path);
    if (content.length <= MAX_FILE_BYTES) return content.toString("utf8");
  } catch (error) {
    throw wrong(`${name} cannot be read: ${(error as Error).message}`);
  }
  throw wrong(`${name}: ${path} is larger than ${MAX_FILE_BYTES} bytes`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(message: string): OpPrereqError {
  return new OpPrereqError(message, "wrong_input");
}
