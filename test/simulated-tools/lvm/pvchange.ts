/** Simulated `pvchange --allocatable`. */
import { changeLvm } from "./state.ts";
import { LvmFailure, runLvmTool } from "./tool.ts";

await runLvmTool("pvchange", { allocatable: { type: "string", short: "x" } }, (nodeFolder, values, [name = ""]) =>
  changeLvm(nodeFolder, ({ volumeGroups }) => {
    const found = volumeGroups
      .flatMap(({ physicalVolumes }) => physicalVolumes)
      .find((each) => each.name === name && !each.missing);
    if (found === undefined)
      throw new LvmFailure(`  Cannot use ${name}: device not found`, {
        stdout: "  0 physical volumes changed / 0 physical volumes not changed\n",
      });
    const wanted = values.allocatable === "y";
    if (found.allocatable === wanted)
      return {
        exitCode: 0,
        stdout: `  Physical volume ${name} not changed\n  0 physical volumes changed / 1 physical volume not changed\n`,
        stderr: `  Physical volume "${name}" is already ${wanted ? "allocatable" : "unallocatable"}.\n`,
      };
    found.allocatable = wanted;
    return {
      exitCode: 0,
      stdout: `  Physical volume "${name}" changed\n  1 physical volume changed / 0 physical volumes not changed\n`,
    };
  }),
);
