/** Simulated `lvchange`: tags, activation, deactivation. */

import { isLost } from "./columns.ts";
import { openFiles } from "./open-files.ts";
import { changeLvm, contentsFile } from "./state.ts";
import { findVolume, LvmFailure, requireWhole, runLvmTool } from "./tool.ts";

await runLvmTool(
  "lvchange",
  {
    activate: { type: "string", short: "a" },
    addtag: { type: "string", multiple: true },
    deltag: { type: "string", multiple: true },
  },
  (nodeFolder, { activate, addtag = [], deltag = [] }, names) =>
    changeLvm(nodeFolder, (state) => {
      const changesTags = addtag.length + deltag.length > 0;
      const said = names.map((name) => {
        const { group, volume } = findVolume(state, name);
        if (changesTags) requireWhole(group);
        if (activate === "y" && isLost(group, volume))
          throw new LvmFailure(
            `  Refusing activation of partial LV ${group.name}/${volume.name}.  Use '--activationmode partial' to override.`,
          );
        if (activate === "n" && openFiles().has(contentsFile(nodeFolder, volume)))
          throw new LvmFailure(`  Logical volume ${group.name}/${volume.name} in use.`);
        volume.tags = [...new Set([...volume.tags.filter((tag) => !deltag.includes(tag)), ...addtag])];
        if (activate !== undefined) volume.active = activate === "y";
        return changesTags ? `  Logical volume ${group.name}/${volume.name} changed.\n` : "";
      });
      return { exitCode: 0, stdout: said.join("") };
    }),
);
