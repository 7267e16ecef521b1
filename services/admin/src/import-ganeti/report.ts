/** What a translation comes to, in words. Pure. */
import type { ConfigRows } from "@gannet/config-store";
import type { Instance } from "@gannet/objects";
import type { Note, Problem } from "./findings.ts";
import { TABLES, type TableName, type Translation } from "./translation.ts";

const ROWS_OF: Readonly<Record<TableName, keyof ConfigRows>> = {
  nodes: "nodes",
  nodegroups: "groups",
  networks: "networks",
  instances: "instances",
  disks: "disks",
  filters: "filters",
};

/** Problems that the operator has not agreed to leave out. */
export function openProblems({ problems }: Pick<Translation, "problems">): readonly Problem[] {
  return problems.filter(({ skipped }) => !skipped);
}

/** Lines without line ends. */
export function reportLines(file: string, translation: Translation): readonly string[] {
  const { version, rows, problems, notes, unusedSkips } = translation;
  const open = openProblems(translation);
  const skipped = problems.filter((problem) => problem.skipped);
  return [
    `${file}: ${version === undefined ? "not a configuration that can be read" : `configuration of Ganeti ${version}`}`,
    ...(rows === undefined
      ? []
      : [
          `cluster ${rows.cluster.name}, serial ${rows.cluster.serialNo}`,
          "",
          ...table(translation),
          ...kinds(rows.instances ?? []),
        ]),
    ...section("To be known", notes.map(noteLine)),
    ...section("Left out, as asked", skipped.map(problemLine)),
    ...section("Cannot be taken over", open.map(problemLine)),
    ...section("--skip names what is no problem here", unusedSkips),
  ];
}

function table({ found, rows }: Translation): readonly string[] {
  const lines = TABLES.map((name) => {
    const taken = rows?.[ROWS_OF[name]];
    return [name, String(found[name]), String(Array.isArray(taken) ? taken.length : 0)] as const;
  });
  const line = ([name, inFile, taken]: readonly [string, string, string]) =>
    `  ${name.padEnd(12)}${inFile.padStart(8)}${taken.padStart(13)}`;
  return [line(["", "in file", "taken over"]), ...lines.map(line)];
}

function kinds(instances: readonly Instance[]): readonly string[] {
  if (instances.length === 0) return [];
  const by = (key: (instance: Instance) => string) =>
    Object.entries(Object.groupBy(instances, key))
      .map(([name, members]) => `${name} ${members?.length ?? 0}`)
      .sort()
      .join(", ");
  return [
    "",
    `  hypervisors     ${by(({ hypervisor }) => hypervisor)}`,
    `  disk templates  ${by(({ diskTemplate }) => diskTemplate)}`,
    `  states          ${by(({ adminState }) => adminState)}`,
  ];
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ["", `${title} (${lines.length}):`, ...lines.map((line) => `  ${line}`)];
}

function noteLine({ path, text }: Note): string {
  return `${path}: ${text}`;
}

function problemLine({ path, reason, leavesOut }: Problem): string {
  return `${path}: ${reason}${leavesOut === undefined ? "" : ` [--skip leaves out ${leavesOut}]`}`;
}
