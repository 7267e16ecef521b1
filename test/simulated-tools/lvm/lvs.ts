/** Simulated `lvs`. */
import { LVS, SEGMENT_COLUMNS, type VolumeRow } from "./columns.ts";
import { openFiles } from "./open-files.ts";
import { answerOf, columnNames, printReport, REPORT_OPTIONS } from "./report.ts";
import { contentsFile, type LogicalVolume, type LvmState, readLvm, type VolumeGroup } from "./state.ts";
import { findVolume, groupNamed, LvmFailure, missingWarnings, runLvmTool } from "./tool.ts";

await runLvmTool("lvs", REPORT_OPTIONS, (nodeFolder, values, names) =>
  readLvm(nodeFolder, (state) => {
    const asked = columnNames(LVS.columns, LVS.standard, values.options);
    const bySegment = asked.some((name) => SEGMENT_COLUMNS.includes(name));
    const { found, failures } = findAll(state, names);
    const groups = names.length === 0 ? state.volumeGroups : [...new Set(found.map(({ group }) => group))];
    const chosen = new Set(found.flatMap(({ volume }) => volume ?? []));
    const open = openFiles();
    const rows = groups
      .toSorted((a, b) => compare(a.name, b.name))
      .flatMap((group) =>
        group.logicalVolumes
          .filter((volume) => !names.some((name) => name.includes("/")) || chosen.has(volume))
          .toSorted((a, b) => compare(a.name, b.name))
          .flatMap((volume): VolumeRow[] => {
            const row = { group, volume, isOpen: volume.active && open.has(contentsFile(nodeFolder, volume)) };
            return (bySegment ? volume.segments : [undefined]).map((segment) => ({ ...row, segment }));
          }),
      );
    const columns = asked.flatMap((name) => LVS.columns[name] ?? []);
    const warnings = [...missingWarnings(groups), ...failures];
    return {
      ...answerOf(printReport(rows, columns, values), warnings),
      ...(failures.length > 0 ? { exitCode: 5 } : {}),
    };
  }),
);

/** What there is of the names given; what there is not is told, and keeps nothing else from being shown. */
function findAll(state: LvmState, names: readonly string[]) {
  const found: { readonly group: VolumeGroup; readonly volume?: LogicalVolume }[] = [];
  const failures: string[] = [];
  for (const name of names)
    try {
      found.push(name.includes("/") ? findVolume(state, name) : { group: groupNamed(state, name) });
    } catch (error) {
      if (!(error instanceof LvmFailure)) throw error;
      failures.push(...error.message.split("\n").map((line) => line.trim()));
    }
  return { found, failures };
}

/** By bytes, as LVM sorts. */
function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
