/** Which allocator an operation asks. Pure. */
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView } from "@gannet/objects";

/** The allocator of libs/allocator, by the name of Ganeti's standard one; any other is a program of the site. */
export const BUILT_IN_ALLOCATOR = "hail";

export interface AllocatorChoice {
  readonly name: string;
  /** What the program is called with after its input: `--name` or `--name=value`. */
  readonly arguments: readonly string[];
}

/**
 * @param asked - as opcodes name it: `.` and nothing stand for the cluster's default
 * @throws OpPrereqError (wrong_input) when there is none
 */
export function allocatorChoice({ cluster }: ConfigView, asked: string | null | undefined): AllocatorChoice {
  if (asked != null && asked !== ".") return { name: asked, arguments: [] };
  if (cluster.defaultIallocator === "")
    throw new OpPrereqError(
      "No node and no allocator were named, and the cluster has no default allocator (default_iallocator)",
      "wrong_input",
    );
  return { name: cluster.defaultIallocator, arguments: optionsOf(cluster.defaultIallocatorParams) };
}

function optionsOf(parameters: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(parameters).map(([name, value]) =>
    value === null || value === "" || value === true ? `--${name}` : `--${name}=${String(value)}`,
  );
}
