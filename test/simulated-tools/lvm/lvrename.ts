/** Simulated `lvrename`, in its form with three names. */
import { changeLvm } from "./state.ts";
import { groupNamed, LvmFailure, requireWhole, runLvmTool } from "./tool.ts";

await runLvmTool("lvrename", {}, (nodeFolder, _values, [groupName = "", from = "", to = ""]) =>
  changeLvm(nodeFolder, (state) => {
    const group = groupNamed(state, groupName);
    requireWhole(group);
    const bearing = (name: string) => group.logicalVolumes.find((each) => each.name === name);
    if (bearing(to) !== undefined)
      throw new LvmFailure(`  Logical Volume "${to}" already exists in volume group "${groupName}"`);
    const volume = bearing(from);
    if (volume === undefined)
      throw new LvmFailure(`  Existing logical volume "${from}" not found in volume group "${groupName}"`);
    volume.name = to;
    return { exitCode: 0, stdout: `  Renamed "${from}" to "${to}" in volume group "${groupName}"\n` };
  }),
);
