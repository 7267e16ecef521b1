/** An OS definition on disk: what a folder of the search path must hold (spec/os-iallocator-hooks.json, `os_interface`). */
import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import path from "node:path";
import { undefinedWhenMissing } from "../errno.ts";
import { isOsNamePart } from "./os-name.ts";

/** The versions of the interface this agent speaks. */
export const OS_API_VERSIONS: readonly number[] = [10, 15, 20];

export interface OsParameter {
  readonly name: string;
  readonly help: string;
}

/** A definition that can be used. */
export interface OsDefinition {
  readonly name: string;
  /** Its folder. */
  readonly path: string;
  /** All that it declares. */
  readonly apiVersions: readonly number[];
  /** The highest that it and this agent have in common; its scripts are run by its rules. */
  readonly apiVersion: number;
  readonly variants: readonly string[];
  readonly parameters: readonly OsParameter[];
  /** It has a `create` script, which runs on the node itself with the agent's rights. */
  readonly trusted: boolean;
}

/** Why a folder is no usable definition. */
export class InvalidOsDefinition extends Error {}

/** From which version of the interface on a part of it exists. */
const SINCE = { variants: 15, parameters: 20 } as const;

const LIST_LIMIT_BYTES = 64 * 1024;

/** @throws InvalidOsDefinition saying what is wrong with it */
export async function readOsDefinition(name: string, folder: string): Promise<OsDefinition> {
  if (!isOsNamePart(name)) throw new InvalidOsDefinition('its name holds other than letters, digits, ".", "_" and "-"');
  const apiVersions = await readApiVersions(folder);
  const apiVersion = Math.max(...apiVersions.filter((version) => OS_API_VERSIONS.includes(version)));
  if (!Number.isFinite(apiVersion))
    throw new InvalidOsDefinition(
      `API version ${apiVersions.join(", ")} is not supported; this node supports ${OS_API_VERSIONS.join(", ")}`,
    );

  const trusted = await isScript(folder, "create");
  if (!trusted && !(await isScript(folder, "create_untrusted")))
    throw new InvalidOsDefinition("it has neither a create nor a create_untrusted script");
  const required = ["import", "export", "rename", ...(apiVersion >= SINCE.parameters ? ["verify"] : [])];
  for (const script of required)
    if (!(await isScript(folder, script))) throw new InvalidOsDefinition(`script ${script} is missing`);

  return {
    name,
    path: folder,
    apiVersions,
    apiVersion,
    variants: apiVersion >= SINCE.variants ? await readVariants(folder) : [],
    parameters: apiVersion >= SINCE.parameters ? await readParameters(folder) : [],
    trusted,
  };
}

async function readApiVersions(folder: string): Promise<readonly number[]> {
  const lines = await readLines(folder, "ganeti_api_version");
  if (lines === undefined) throw new InvalidOsDefinition("file ganeti_api_version is missing");
  const wrong = lines.find((line) => !/^\d{1,6}$/.test(line));
  if (wrong !== undefined)
    throw new InvalidOsDefinition(`ganeti_api_version holds ${quote(wrong)}, which is no whole number`);
  if (lines.length === 0) throw new InvalidOsDefinition("ganeti_api_version is empty");
  return lines.map(Number);
}

async function readVariants(folder: string): Promise<readonly string[]> {
  const variants = withoutComments((await readLines(folder, "variants.list")) ?? []);
  const wrong = variants.find((variant) => !isOsNamePart(variant));
  if (wrong !== undefined)
    throw new InvalidOsDefinition(`variants.list holds ${quote(wrong)}, which is no variant name`);
  return variants;
}

async function readParameters(folder: string): Promise<readonly OsParameter[]> {
  const lines = await readLines(folder, "parameters.list");
  if (lines === undefined) throw new InvalidOsDefinition("file parameters.list is missing");
  return withoutComments(lines).map((line) => {
    const [, name = "", help = ""] = /^(\S+)\s*(.*)$/.exec(line) ?? [];
    if (!/^[\w-]+$/.test(name))
      throw new InvalidOsDefinition(`parameters.list holds ${quote(name)}, which is no parameter name`);
    return { name, help };
  });
}

/** Trimmed, without empty ones; undefined when there is no such file. Nothing but a small regular file is read. */
async function readLines(folder: string, name: string): Promise<readonly string[] | undefined> {
  const opened = await open(path.join(folder, name), constants.O_RDONLY | constants.O_NONBLOCK).catch(
    undefinedWhenMissing,
  );
  if (opened === undefined) return undefined;
  await using file = opened;
  const found = await file.stat();
  refuseUnlessFile(found, name);
  if (found.size > LIST_LIMIT_BYTES)
    throw new InvalidOsDefinition(`${name} is larger than ${LIST_LIMIT_BYTES / 1024} KiB`);
  const text = await file.readFile("utf8");
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** False when it is missing. @throws InvalidOsDefinition when it cannot be run */
async function isScript(folder: string, name: string): Promise<boolean> {
  const found = await stat(path.join(folder, name)).catch(undefinedWhenMissing);
  if (found === undefined) return false;
  refuseUnlessFile(found, name);
  if ((found.mode & constants.S_IXUSR) === 0) throw new InvalidOsDefinition(`${name} is not executable`);
  return true;
}

function refuseUnlessFile(found: Stats, name: string): void {
  if (!found.isFile()) throw new InvalidOsDefinition(`${name} is not a regular file`);
}

function withoutComments(lines: readonly string[]): readonly string[] {
  return lines.filter((line) => !line.startsWith("#"));
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
