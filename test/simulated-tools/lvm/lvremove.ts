/** Simulated `lvremove`; the snapshots of an origin go with it. */
import { openFiles } from "./open-files.ts";
import { changeLvm, contentsFile } from "./state.ts";
import { findVolume, LvmFailure, requireWhole, runLvmTool } from "./tool.ts";

await runLvmTool("lvremove", { force: { type: "boolean", short: "f" } }, (nodeFolder, _values, names) =>
  changeLvm(nodeFolder, (state) => {
    const open = openFiles();
    const removed = names.flatMap((name) => {
      const { group, volume } = findVolume(state, name);
      requireWhole(group);
      if (open.has(contentsFile(nodeFolder, volume)))
        throw new LvmFailure(`  Logical volume ${group.name}/${volume.name} in use.`);
      const gone = group.logicalVolumes.filter(({ id, origin }) => id === volume.id || origin === volume.id);
      group.logicalVolumes = group.logicalVolumes.filter((each) => !gone.includes(each));
      return gone.toReversed();
    });
    return {
      exitCode: 0,
      stdout: removed.map(({ name }) => `  Logical volume "${name}" successfully removed.\n`).join(""),
    };
  }),
);
