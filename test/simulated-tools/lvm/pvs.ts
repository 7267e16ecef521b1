/** Simulated `pvs`. */
import { PVS } from "./columns.ts";
import { answerOf, columnNames, printReport, REPORT_OPTIONS } from "./report.ts";
import { readLvm } from "./state.ts";
import { LvmFailure, missingWarnings, runLvmTool } from "./tool.ts";

await runLvmTool("pvs", REPORT_OPTIONS, (nodeFolder, values, names) =>
  readLvm(nodeFolder, (state) => {
    const all = state.volumeGroups.flatMap((group) =>
      group.physicalVolumes.map((physicalVolume) => ({ group, physicalVolume })),
    );
    const unknown = names.find((name) => !all.some(({ physicalVolume }) => physicalVolume.name === name));
    if (unknown !== undefined) throw new LvmFailure(`  Failed to find physical volume "${unknown}".`);
    const rows = names.length === 0 ? all : all.filter(({ physicalVolume }) => names.includes(physicalVolume.name));
    const columns = columnNames(PVS.columns, PVS.standard, values.options).flatMap((name) => PVS.columns[name] ?? []);
    return answerOf(printReport(rows, columns, values), missingWarnings(state.volumeGroups));
  }),
);
