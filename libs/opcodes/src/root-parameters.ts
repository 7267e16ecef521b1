/** The parameters of a job by which its submitter could have nodes run any program as root. */
import { needsRoot } from "@gannet/objects";
import type { WireOpcode } from "./define.ts";

/** Which table's parameters stand below these names, wherever in an opcode: of an instance, a level, an OS. */
const TABLE_OF: ReadonlyMap<string, Parameters<typeof needsRoot>[0]> = new Map([
  ["hvparams", "hypervisor"],
  ["os_hvp", "hypervisor"],
  ["ndparams", "node"],
]);

/** Opcodes' own parameters that name programs which nodes run, with the values that are harmless. */
const PROGRAMS: ReadonlyMap<string, readonly unknown[]> = new Map([
  ["compression_tools", [null]],
  ["drbd_helper", [null, "", "/bin/true"]],
]);

/**
 * Those that the job sets, as paths: `instances/0/hvparams/kvm_extra`; none where it takes no right of root.
 * @param fileRoots - folders, absolute, in which the files of guests may lie
 */
export function rootParametersOf(opcode: WireOpcode, fileRoots: readonly string[]): readonly string[] {
  return [...found(opcode, "", fileRoots)];
}

function* found(value: unknown, path: string, fileRoots: readonly string[]): Generator<string> {
  for (const [name, inner] of entriesOf(value)) {
    const harmless = PROGRAMS.get(name);
    const table = TABLE_OF.get(name);
    if (harmless !== undefined && !harmless.includes(inner)) yield path + name;
    else if (table !== undefined) yield* foundInTable(inner, `${path}${name}/`, table, fileRoots);
    else yield* found(inner, `${path}${name}/`, fileRoots);
  }
}

/** Parameters by name, or such objects by hypervisor, or by OS and hypervisor. */
function* foundInTable(
  value: unknown,
  path: string,
  table: Parameters<typeof needsRoot>[0],
  fileRoots: readonly string[],
): Generator<string> {
  for (const [name, inner] of entriesOf(value)) {
    if (typeof inner === "object" && inner !== null) yield* foundInTable(inner, `${path}${name}/`, table, fileRoots);
    else if (needsRoot(table, name, inner, fileRoots)) yield path + name;
  }
}

function entriesOf(value: unknown): readonly (readonly [string, unknown])[] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}
