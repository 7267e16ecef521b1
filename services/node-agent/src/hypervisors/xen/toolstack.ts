/** The command lines of Xen's toolstack (spec/node-ops.json, `hv.xen`; xl(1)). Pure: nothing here runs anything. */

/** `xm` is Xen's older command, until Xen 4.4; Ganeti until 3.0 could use either. */
export type ToolstackKind = "xl" | "xm";

export interface Toolstack {
  readonly kind: ToolstackKind;
  /** Absolute path of the command. */
  readonly path: string;
}

export type Argv = readonly [program: string, ...args: string[]];

/** What the two commands do differently. */
const DIFFERENCES = {
  /** `-v` adds each domain's UUID. `-F` presses the power button of guests that have no Xen drivers. */
  xl: { list: ["-v"], askHvm: ["-F"] },
  xm: { list: [], askHvm: [] },
} as const satisfies Record<ToolstackKind, unknown>;

export function listArgv({ kind, path }: Toolstack): Argv {
  return [path, "list", ...DIFFERENCES[kind].list];
}

export function infoArgv({ path }: Toolstack): Argv {
  return [path, "info"];
}

export function createArgv({ path }: Toolstack, configFile: string, options: { readonly paused: boolean }): Argv {
  return [path, "create", ...(options.paused ? ["-p"] : []), configFile];
}

/** Ask the guest, and wait for as long as it takes: the caller's time limit ends the wait. */
export function shutdownArgv({ kind, path }: Toolstack, domain: string, guestType: "pv" | "hvm"): Argv {
  return [path, "shutdown", ...(guestType === "hvm" ? DIFFERENCES[kind].askHvm : []), "-w", domain];
}

export function rebootArgv({ kind, path }: Toolstack, domain: string, guestType: "pv" | "hvm"): Argv {
  return [path, "reboot", ...(guestType === "hvm" ? DIFFERENCES[kind].askHvm : []), domain];
}

export function destroyArgv({ path }: Toolstack, domain: string): Argv {
  return [path, "destroy", domain];
}

export function renameArgv({ path }: Toolstack, domain: string, to: string): Argv {
  return [path, "rename", domain, to];
}

/** Let a suspended domain go on; Xen until 4.19 has no command for it. */
export function resumeArgv({ path }: Toolstack, domain: string): Argv {
  return [path, "resume", domain];
}

export function unpauseArgv({ path }: Toolstack, domain: string): Argv {
  return [path, "unpause", domain];
}

/** Write the guest's memory to a file, and end its domain. */
export function saveArgv({ path }: Toolstack, domain: string, file: string): Argv {
  return [path, "save", domain, file];
}

/** `xl` takes another configuration than the one that was saved; `xm` has no way to be told one. */
export function restoreArgv(
  { kind, path }: Toolstack,
  files: { readonly configFile: string; readonly savedFile: string },
  options: { readonly paused: boolean },
): Argv {
  const config = kind === "xl" ? [files.configFile] : [];
  return [path, "restore", ...(options.paused ? ["-p"] : []), ...config, files.savedFile];
}

export function setMemoryArgv({ path }: Toolstack, domain: string, memoryMib: number): Argv {
  return [path, "mem-set", domain, String(memoryMib)];
}

/** What the console's client runs on the node. */
export function consoleArgv({ path }: Toolstack, domain: string): Argv {
  return [path, "console", domain];
}

/** The hypervisor itself resets the machine; no disk is synchronised. */
export function powercycleArgv({ path }: Toolstack): Argv {
  return [path, "debug-keys", "R"];
}

/**
 * `xl` gives the transport to a shell, with the host and a remote command behind it, which a comment sign takes away.
 * @param transport - words of the command that carries standard input and output to the target
 */
export function migrateArgv(
  { path }: Toolstack,
  options: {
    readonly transport: readonly string[];
    readonly configFile: string;
    readonly domain: string;
    readonly address: string;
  },
): Argv {
  const transport = `${options.transport.map(quotedWord).join(" ")} #`;
  return [path, "migrate", "-s", transport, "-C", options.configFile, options.domain, options.address];
}

/** One word for a POSIX shell, whatever it holds. */
function quotedWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
