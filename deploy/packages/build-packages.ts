/** Builds all packages of a commit into a folder. */
import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import type { CommandRunner } from "@gannet/exec";
import type { BuildVersion } from "./build-version.ts";
import { bundleProgram, REPOSITORY } from "./bundle.ts";
import { makeArchive } from "./debian-archive.ts";
import { PACKAGES, type PackageDefinition, SAME_VERSION } from "./package-definitions.ts";

/** Node's name of a processor, and Debian's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const MAINTAINER = "Gannet maintainers <maintainers@gannet.test>";
const MAINTAINER_SCRIPTS = ["preinst", "postinst", "prerm", "postrm"];
const COMMAND_TIMEOUT_MS = 60_000;

export interface BuildOptions extends BuildVersion {
  /** Receives the .deb files. */
  readonly folder: string;
  /** `none` is for those who only look into them: compressing takes most of the time. */
  readonly compression: "zstd" | "none";
  /** Node's program; the pinned one when absent, which is large. */
  readonly runtime?: string;
  readonly runner: CommandRunner;
}

export interface BuiltPackage {
  readonly name: string;
  readonly file: string;
}

export async function buildPackages(options: BuildOptions): Promise<readonly BuiltPackage[]> {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`There is no Node for packages of architecture ${process.arch}`);
  const work = await mkdtemp(path.join(tmpdir(), "gannet-packages-"));
  try {
    const bundles = await bundleAll(path.join(work, "bundles"));
    const built: BuiltPackage[] = [];
    for (const definition of PACKAGES) {
      const tree = path.join(work, definition.name);
      await fillTree(tree, definition, bundles, options);
      const file = path.join(options.folder, `${definition.name}_${options.version}_${architecture}.deb`);
      await makeArchive({
        tree,
        file,
        control: controlFields(definition, options.version, architecture),
        maintainerScripts: await maintainerScripts(definition.name),
        configurationFiles: definition.configurationFiles,
        epoch: options.epoch,
        compression: options.compression,
        runner: options.runner,
      });
      await rm(tree, { recursive: true });
      built.push({ name: definition.name, file });
    }
    return built;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Where the pinned Node is. */
function runtimeFolder(): string {
  return path.join(REPOSITORY, "node_modules", `node-linux-${process.arch}`);
}

interface BundleFile {
  readonly file: string;
  readonly packages: readonly string[];
}

/** Each program once, by its name. */
async function bundleAll(folder: string): Promise<ReadonlyMap<string, BundleFile>> {
  const programs = new Map(PACKAGES.flatMap(({ bundles }) => bundles).map(({ name, entry }) => [name, entry]));
  const files = new Map<string, BundleFile>();
  for (const [name, entry] of programs) {
    const file = path.join(folder, name);
    files.set(name, { file, ...(await bundleProgram(entry, file, { ownFolders: "beside-bundle" })) });
  }
  return files;
}

async function fillTree(
  tree: string,
  definition: PackageDefinition,
  bundles: ReadonlyMap<string, BundleFile>,
  { version, epoch, runtime = path.join(runtimeFolder(), "bin/node"), runner }: BuildOptions,
): Promise<void> {
  const place = (target: string) => path.join(tree, target);
  const programs = place(definition.programDir);
  await makeFolder(tree, programs);
  const registryPackages = new Set<string>();
  for (const { name } of definition.bundles) {
    const bundle = bundles.get(name);
    if (bundle === undefined) throw new Error(`there is no bundle ${name}`);
    await putFile(tree, bundle.file, path.join(programs, name), 0o644);
    for (const folder of bundle.packages) registryPackages.add(folder);
  }
  if (definition.runtime === "own") {
    for (const folder of registryPackages) await putProtocols(tree, programs, folder);
    await putFile(tree, runtime, path.join(programs, "node"), 0o755);
    registryPackages.add(path.relative(REPOSITORY, runtimeFolder()));
  }
  if (definition.lua) await putLuaScripts(tree, path.join(programs, "lua"));
  for (const { target, bundle } of definition.commands)
    await putScript(tree, "program", place(target), {
      NAME: path.basename(target),
      PROGRAM_DIR: definition.programDir,
      BUNDLE: bundle,
    });
  if (definition.gnt) await putGnt(tree, definition.programDir, runner);
  for (const { source, target, mode } of definition.files)
    await putSource(tree, path.join(REPOSITORY, source), place(target), mode);
  await putDocuments(tree, definition, [...registryPackages].sort(), { version, epoch });
}

async function makeFolder(tree: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (let at = folder; at.startsWith(tree); at = path.dirname(at)) await chmod(at, 0o755);
}

async function putFile(tree: string, source: string, target: string, mode: number): Promise<void> {
  await makeFolder(tree, path.dirname(target));
  await copyFile(source, target);
  await chmod(target, mode);
}

async function putText(tree: string, target: string, contents: string | Buffer, mode = 0o644): Promise<void> {
  await makeFolder(tree, path.dirname(target));
  await writeFile(target, contents);
  await chmod(target, mode);
}

/** A file, or a folder whose files keep whether they are executable. */
async function putSource(tree: string, source: string, target: string, mode = 0o644): Promise<void> {
  const entries = await readdir(source, { recursive: true, withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return await putFile(tree, source, target, mode);
  await makeFolder(tree, target);
  await cp(source, target, { recursive: true });
  for (const entry of entries) {
    const name = path.relative(source, path.join(entry.parentPath, entry.name));
    const { mode: own } = await stat(path.join(source, name));
    await chmod(path.join(target, name), entry.isDirectory() || (own & 0o100) !== 0 ? 0o755 : 0o644);
  }
}

/** A shell script of deploy/packages/files, with its places filled in. */
async function putScript(
  tree: string,
  source: string,
  target: string,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const text = await readFile(path.join(import.meta.dirname, "files", source), "utf8");
  await putText(tree, target, filledIn(text, values), 0o755);
}

function filledIn(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/@([A-Z_]+)@/g, (place, name: string) => values[name] ?? place);
}

/** Files by which packages describe gRPC's own services, and which they read at run time. */
const PROTOCOLS: Readonly<Record<string, readonly string[]>> = {
  "node_modules/grpc-health-check": ["proto/health/v1/health.proto"],
  "node_modules/@grpc/reflection": ["v1", "v1alpha"].map((v) => `build/proto/grpc/reflection/${v}/reflection.proto`),
};

async function putProtocols(tree: string, programs: string, folder: string): Promise<void> {
  for (const name of PROTOCOLS[folder] ?? [])
    await putFile(tree, path.join(REPOSITORY, folder, name), path.join(programs, folder, name), 0o644);
}

/** All of them stand in one folder beside the bundle (`luaFile` of libs/redis). */
async function putLuaScripts(tree: string, folder: string): Promise<void> {
  const taken = new Set<string>();
  for (const library of ["locking", "config-store", "job-ledger"]) {
    const source = path.join(REPOSITORY, "libs", library, "src/lua");
    for (const name of await readdir(source)) {
      if (taken.has(name)) throw new Error(`two Lua scripts are called ${name}: one bundle cannot carry both`);
      taken.add(name);
      await putFile(tree, path.join(source, name), path.join(folder, name), 0o644);
    }
  }
}

/** gnt, its other names, its completion and its manual page; `update-alternatives` links to them. */
async function putGnt(tree: string, programDir: string, runner: CommandRunner): Promise<void> {
  const programs = path.join(tree, programDir);
  await putScript(tree, "gnt", path.join(programs, "bin/gnt"), { PROGRAM_DIR: programDir });
  const printed = async (...words: readonly string[]) => {
    const argv = [process.execPath, path.join(programs, "gnt.mjs"), ...words] as const;
    const env = { NODE_DISABLE_COMPILE_CACHE: "1" };
    return (await runner.run({ argv, env, timeoutMs: COMMAND_TIMEOUT_MS })).stdout;
  };
  const bash = await printed("completion", "bash");
  await putText(tree, path.join(programs, "completion/gnt.bash"), bash);
  await putText(tree, path.join(programs, "completion/gnt.zsh"), await printed("completion", "zsh"));
  await putText(tree, path.join(programs, "man/gnt.1.gz"), gzipSync(await printed("manual"), { level: 9 }));
  const names = new Set(bash.match(/\bgnt-[a-z]+\b/g));
  for (const name of names) await symlink("gnt", path.join(programs, "bin", name));
}

async function putDocuments(
  tree: string,
  { name }: PackageDefinition,
  registryPackages: readonly string[],
  { version, epoch }: BuildVersion,
): Promise<void> {
  const folder = path.join(tree, "usr/share/doc", name);
  const text = (file: string, contents: string) => putText(tree, path.join(folder, file), contents);
  const date = new Date(epoch * 1000).toUTCString().replace("GMT", "+0000");
  const changes = `gannet (${version}) unstable; urgency=medium\n\n  * Built from the sources of this version.\n\n -- ${MAINTAINER}  ${date}\n`;
  await putText(tree, path.join(folder, "changelog.gz"), gzipSync(changes, { level: 9 }));
  await text("copyright", await copyrightText());
  const licences = await Promise.all(registryPackages.map(licenceOf));
  await putText(tree, path.join(folder, "third-party-licences.gz"), gzipSync(licences.join("\n"), { level: 9 }));
}

async function copyrightText(): Promise<string> {
  return [
    "Gannet is under the Apache License, version 2.0; on Debian it is in /usr/share/common-licenses/Apache-2.0.",
    "The programs hold code of the packages named in third-party-licences.gz, with their licences.",
    "",
    "Node.js, where it is part of this package, is distributed under the licence found there as well.",
    "",
  ].join("\n");
}

/** Name, version and licence of a package from the registry, with the text that it brings. */
async function licenceOf(folder: string): Promise<string> {
  const at = path.join(REPOSITORY, folder);
  const manifest = JSON.parse(await readFile(path.join(at, "package.json"), "utf8")) as {
    readonly name: string;
    readonly version?: string;
    readonly license?: string;
  };
  const file = (await readdir(at)).sort().find((name) => /^(licen[cs]e|copying)(\.|$)/i.test(name));
  const text = file === undefined ? "" : await readFile(path.join(at, file), "utf8");
  return `==== ${manifest.name} ${manifest.version ?? ""}: ${manifest.license ?? "see below"}\n${text.trim()}\n`;
}

function controlFields(definition: PackageDefinition, version: string, architecture: string): Record<string, string> {
  const list = (names: readonly string[] = []) => names.join(", ").replaceAll(SAME_VERSION, version);
  return {
    Package: definition.name,
    Source: "gannet",
    Version: version,
    Architecture: architecture,
    Maintainer: MAINTAINER,
    Section: "admin",
    Priority: "optional",
    Depends: list(definition.depends),
    Recommends: list(definition.recommends),
    Suggests: list(definition.suggests),
    Description: [definition.summary, ...definition.description.flatMap(paragraph)].join("\n "),
  };
}

/** Lines of at most 78 characters; paragraphs are parted by a line with a point. */
function paragraph(text: string, index: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + word.length >= 78) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...(index === 0 ? [] : ["."]), ...lines, line];
}

/** Each script begins with the functions that all use. */
async function maintainerScripts(name: string): Promise<Record<string, string>> {
  const folder = path.join(import.meta.dirname, "maintainer");
  const begin = filledIn(await readFile(path.join(folder, "begin"), "utf8"), { PACKAGE: name });
  const scripts: Record<string, string> = {};
  for (const script of MAINTAINER_SCRIPTS) {
    const own = await readFile(path.join(folder, `${name}.${script}`), "utf8").catch(() => undefined);
    if (own !== undefined) scripts[script] = begin + own;
  }
  return scripts;
}
