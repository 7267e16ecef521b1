/** What a qemu program can do, asked of the program itself. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";

export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
}

export interface QemuFacts {
  readonly path: string;
  readonly version: QemuVersion;
  /** Machine types by every name they have; an alias leads to the name that stays the same after an upgrade. */
  readonly machines: ReadonlyMap<string, string>;
  readonly defaultMachine: string | undefined;
  readonly devices: ReadonlySet<string>;
  /** Whether a guest's screen can be shown by SPICE. */
  readonly spice: boolean;
  /** Whether user and root folder are told by `-run-with`; by `-runas` and `-chroot` otherwise. */
  readonly runWith: boolean;
}

/** Debian 12's. JSON in -device needs 6.2, and older ones have had no security support for years. */
const OLDEST = { major: 7, minor: 2 } as const;
/** A node that is busy with other guests takes seconds for it. */
const PROBE_TIMEOUT_MS = 60_000;

/** Answers from memory until the program's file changes. */
export class QemuBinaries {
  readonly #runner: CommandRunner;
  readonly #known = new Map<string, { readonly version: string; readonly facts: Promise<QemuFacts> }>();

  constructor(runner: CommandRunner) {
    this.#runner = runner;
  }

  /** @throws HypervisorError when there is no such program, it cannot be run, or is too old */
  async facts(path: string): Promise<QemuFacts> {
    const version = await fileVersion(path);
    const known = this.#known.get(path);
    if (known?.version === version) return known.facts;
    const facts = this.#probe(path);
    this.#known.set(path, { version, facts });
    facts.catch(() => this.#known.delete(path));
    return facts;
  }

  async #probe(path: string): Promise<QemuFacts> {
    const [version, machines, devices, options] = await Promise.all([
      this.#ask(path, ["--version"]),
      this.#ask(path, ["-machine", "help"]),
      this.#ask(path, ["-device", "help"]),
      this.#ask(path, ["-help"]),
    ]);
    return {
      path,
      version: parseVersion(version, path),
      ...parseMachines(machines),
      devices: parseDevices(devices),
      ...parseOptions(options),
    };
  }

  async #ask(path: string, args: readonly string[]): Promise<string> {
    try {
      return (await this.#runner.run({ argv: [path, ...args], timeoutMs: PROBE_TIMEOUT_MS })).stdout;
    } catch (error) {
      throw new HypervisorError(`qemu cannot be used: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
}

/** Changes whenever a package upgrade replaces the program, also behind a symbolic link. */
async function fileVersion(path: string): Promise<string> {
  try {
    await access(path, constants.X_OK);
    const file = await stat(path, { bigint: true });
    if (file.isFile()) return `${file.dev}:${file.ino}:${file.size}:${file.mtimeNs}`;
  } catch {
    // Told below.
  }
  throw new HypervisorError(`kvm_path: there is no program ${path} on this node; install qemu or set kvm_path`);
}

/** `QEMU emulator version 7.2.22 (Debian …)`. @throws HypervisorError when it is older than can be driven */
export function parseVersion(output: string, path: string): QemuVersion {
  const [, text = "", major = "", minor = ""] = /version ((\d+)\.(\d+)(?:\.\d+)?)/.exec(output) ?? [];
  if (text === "") throw new HypervisorError(`kvm_path: ${path} does not tell a qemu version`);
  const version = { major: Number(major), minor: Number(minor), text };
  if (version.major < OLDEST.major || (version.major === OLDEST.major && version.minor < OLDEST.minor)) {
    throw new HypervisorError(`kvm_path: ${path} is qemu ${text}; ${OLDEST.major}.${OLDEST.minor} or newer is needed`);
  }
  return version;
}

/** Lines like `pc-i440fx-7.2  Standard PC (…) (default)` and `q35  Standard PC (…) (alias of pc-q35-7.2)`. */
export function parseMachines(output: string): Pick<QemuFacts, "machines" | "defaultMachine"> {
  const machines = new Map<string, string>();
  let defaultMachine: string | undefined;
  for (const line of output.split("\n").slice(1)) {
    const [name] = line.split(/\s/, 1);
    if (name === undefined || name === "") continue;
    const target = /\(alias of ([^)]+)\)/.exec(line)?.[1] ?? name;
    machines.set(name, target);
    if (line.includes("(default)")) defaultMachine = target;
  }
  return { machines, defaultMachine };
}

/** The help of an option begins in the first column and goes on in others. */
export function parseOptions(output: string): Pick<QemuFacts, "spice" | "runWith"> {
  const runWith = /^-run-with .*(?:\n[ \t].*)*/m.exec(output)?.[0] ?? "";
  return {
    spice: /^-spice /m.test(output),
    // The option came with 8.1, these of its parts with 9.0.
    runWith: runWith.includes("chroot=") && runWith.includes("user="),
  };
}

/** Lines like `name "lsi53c895a", bus PCI, alias "lsi"`. */
export function parseDevices(output: string): ReadonlySet<string> {
  return new Set([...output.matchAll(/^name "([^"]+)"/gm)].map(([, name = ""]) => name));
}
