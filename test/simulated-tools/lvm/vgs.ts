/** Simulated `vgs`. */
import { VGS } from "./columns.ts";
import { answerOf, columnNames, printReport, REPORT_OPTIONS } from "./report.ts";
import { readLvm } from "./state.ts";
import { groupNamed, missingWarnings, runLvmTool } from "./tool.ts";

await runLvmTool("vgs", REPORT_OPTIONS, (nodeFolder, values, names) =>
  readLvm(nodeFolder, (state) => {
    const groups = names.length === 0 ? state.volumeGroups : names.map((name) => groupNamed(state, name));
    const columns = columnNames(VGS.columns, VGS.standard, values.options).flatMap((name) => VGS.columns[name] ?? []);
    const rows = groups.map((group) => ({ group }));
    return answerOf(printReport(rows, columns, values), missingWarnings(groups));
  }),
);
