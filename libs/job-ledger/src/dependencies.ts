/** Dependencies between jobs, as opcodes carry them and as the scripts read them. Pure. */
import { OpPrereqError } from "@gannet/errors";
import type { FinalStatus, JobId, OpcodeInput } from "./job.ts";

/** `[job id, accepted final statuses]`; no status means any but canceled (spec/jobs.json, `dependencies`). */
export type Dependency = readonly [id: JobId, statuses: readonly FinalStatus[]];

const ANY = "*";
/** A script looks at all of them whenever the job is to begin. */
const MAX_DEPENDENCIES = 1_000;

/** The lines that the scripts read: `<opcode index> <job id> <statuses with commas, or *>`. */
export function dependencyLines(inputs: readonly OpcodeInput[]): string {
  return inputs
    .flatMap((input, index) =>
      dependenciesOf(input).map(([id, statuses]) => `${index} ${id} ${statuses.join(",") || ANY}`),
    )
    .join("\n");
}

/** The dependencies of each opcode that has some, by its index, from those lines. */
export function parseDependencyLines(lines: string): ReadonlyMap<number, readonly Dependency[]> {
  const byOpcode = new Map<number, Dependency[]>();
  for (const line of lines.split("\n")) {
    const [index, id, statuses = ANY] = line.split(" ");
    const dependency: Dependency = [Number(id), statuses === ANY ? [] : (statuses.split(",") as FinalStatus[])];
    const known = byOpcode.get(Number(index));
    if (known === undefined) byOpcode.set(Number(index), [dependency]);
    else known.push(dependency);
  }
  return byOpcode;
}

function dependenciesOf(input: OpcodeInput): readonly Dependency[] {
  const depends = input.depends ?? [];
  if (!Array.isArray(depends) || !depends.every(isDependency))
    throw new OpPrereqError(`${input.OP_ID}: depends is a list of [job id, [statuses]]`, "wrong_input");
  if (depends.length > MAX_DEPENDENCIES)
    throw new OpPrereqError(`${input.OP_ID}: depends names more than ${MAX_DEPENDENCIES} jobs`, "wrong_input");
  return depends;
}

function isDependency(value: unknown): value is Dependency {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    Number.isSafeInteger(value[0]) &&
    Array.isArray(value[1]) &&
    value[1].every((status) => status === "canceled" || status === "error" || status === "success")
  );
}
