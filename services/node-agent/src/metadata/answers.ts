/**
 * What a guest is answered at each path (spec/os-iallocator-hooks.json, `metadata_daemon`). As in Ganeti, `read` and
 * `write` are there and carry nothing.
 */
import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import path from "node:path";
import { splitOsName } from "@gannet/objects";
import { isErrno } from "../errno.ts";
import type { OsDefinitions } from "../os/index.ts";
import type { GuestMetadata } from "./guest-metadata.ts";

export type Answer =
  | { readonly type: "application/json" | "text/plain"; readonly text: string }
  /** To be closed by who gets it. */
  | { readonly file: FileHandle; readonly sizeBytes: number };

export interface AnswerSources {
  readonly os: Pick<OsDefinitions, "diagnose">;
  /** Below which the packages lie that OS parameters name; without it there are none. */
  readonly packageFolder?: string | undefined;
}

interface Resource {
  readonly method: "GET" | "POST";
  /** Undefined: there is no such thing for this guest. */
  readonly answer: (guest: GuestMetadata, sources: AnswerSources) => Answer | undefined | Promise<Answer | undefined>;
}

const ROOT = "/ganeti/latest";
/** By their names in a definition. What is made to be run inside a guest alone is served as its create script. */
const SCRIPTS: Readonly<Record<string, readonly string[]>> = {
  create: ["create", "create_untrusted"],
  export: ["export"],
  import: ["import"],
  rename: ["rename"],
  verify: ["verify"],
};
const NOTHING: Answer = { type: "text/plain", text: "" };

export const RESOURCES: ReadonlyMap<string, Resource> = new Map<string, Resource>([
  [`${ROOT}/meta_data.json`, { method: "GET", answer: identity }],
  [`${ROOT}/os/os-install-package`, { method: "GET", answer: packageNamedBy("os-install-package") }],
  [`${ROOT}/os/package`, { method: "GET", answer: packageNamedBy("os-package") }],
  [`${ROOT}/os/parameters.json`, { method: "GET", answer: osParameters }],
  ...Object.entries(SCRIPTS).map(([name, files]): [string, Resource] => [
    `${ROOT}/os/scripts/${name}`,
    { method: "GET", answer: scriptOf(files) },
  ]),
  [`${ROOT}/read`, { method: "GET", answer: () => NOTHING }],
  [`${ROOT}/write`, { method: "POST", answer: () => NOTHING }],
]);

/** Ganeti answers nothing; these are what OpenStack has under the same name. */
function identity({ uuid, name }: GuestMetadata): Answer {
  return json({ uuid, name, hostname: name });
}

/** Each with its value and who may see it. */
function osParameters({ publicParameters, privateParameters }: GuestMetadata): Answer {
  const seen = (parameters: Readonly<Record<string, string>>, visibility: string) =>
    Object.entries(parameters).map(([name, value]) => [name, [value, visibility]]);
  return json(Object.fromEntries([...seen(publicParameters, "public"), ...seen(privateParameters, "private")]));
}

/**
 * A file of the packages' folder, wherever symbolic links lead. Ganeti serves any file of the node that the parameter
 * names, which hands the node's secrets to whoever may set an OS parameter.
 */
function packageNamedBy(parameter: string): Resource["answer"] {
  return async ({ publicParameters }, { packageFolder }) => {
    const name = publicParameters[parameter];
    if (name === undefined || name === "" || name.includes("\0") || packageFolder === undefined) return undefined;
    const root = await realpath(packageFolder).catch(undefinedWhenUnreachable);
    const place = await realpath(path.resolve(packageFolder, name)).catch(undefinedWhenUnreachable);
    if (root === undefined || place === undefined || !place.startsWith(`${root}/`)) return undefined;
    return fileAnswer(place);
  };
}

function scriptOf(files: readonly string[]): Resource["answer"] {
  return async (guest, { os }) => {
    const { name } = splitOsName(guest.os);
    const definition = (await os.diagnose()).find((each) => each.name === name && each.valid);
    if (definition === undefined) return undefined;
    for (const file of files) {
      const answer = await fileAnswer(path.join(definition.path, file));
      if (answer !== undefined) return answer;
    }
    return undefined;
  };
}

/** Undefined when there is no such file, or it is another thing than a file. */
async function fileAnswer(place: string): Promise<Answer | undefined> {
  // A pipe must not hold this up.
  const file = await open(place, constants.O_RDONLY | constants.O_NONBLOCK).catch(undefinedWhenUnreachable);
  if (file === undefined) return undefined;
  const found = await file.stat();
  if (found.isFile()) return { file, sizeBytes: found.size };
  await file.close();
  return undefined;
}

function undefinedWhenUnreachable(error: unknown): undefined {
  if (!isErrno(error, "ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG", "ENXIO", "EISDIR")) throw error;
  return undefined;
}

function json(value: unknown): Answer {
  return { type: "application/json", text: JSON.stringify(value) };
}
