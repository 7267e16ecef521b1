/** Simulated `vgreduce --removemissing`. */
import { isLost } from "./columns.ts";
import { changeLvm } from "./state.ts";
import { groupNamed, LvmFailure, missingWarnings, runLvmTool } from "./tool.ts";

await runLvmTool(
  "vgreduce",
  { removemissing: { type: "boolean" }, force: { type: "boolean", short: "f" } },
  (nodeFolder, { force }, [name = ""]) =>
    changeLvm(nodeFolder, (state) => {
      const group = groupNamed(state, name);
      const warnings = missingWarnings([group]);
      if (warnings.length === 0) return { exitCode: 0, stdout: `  Volume group "${name}" is already consistent.\n` };
      const unfound = warnings.filter((text) => text.includes("Couldn't find"));
      const lost = group.logicalVolumes.filter((volume) => isLost(group, volume));
      if (lost.length > 0 && !force)
        throw new LvmFailure(
          [
            ...warnings,
            ...unfound,
            ...lost.map((volume) => `WARNING: Partial LV ${volume.name} needs to be repaired or removed. `),
            `There are still partial LVs in VG ${name}.`,
            "To remove them unconditionally use: vgreduce --removemissing --force.",
            "To remove them unconditionally from mirror LVs use: vgreduce --removemissing --mirrorsonly --force.",
            "WARNING: Proceeding to remove empty missing PVs.",
            ...unfound,
          ]
            .map((text) => `  ${text}`)
            .join("\n"),
        );
      group.logicalVolumes = group.logicalVolumes.filter((volume) => !lost.includes(volume));
      group.physicalVolumes = group.physicalVolumes.filter(({ missing }) => !missing);
      const removed = lost.map((volume) => `  Logical volume "${volume.name}" successfully removed.\n`).join("");
      return {
        exitCode: 0,
        stdout: `${removed}  Wrote out consistent volume group ${name}.\n`,
        stderr: [
          ...warnings,
          ...lost.flatMap(({ name: each }) => [...unfound, `WARNING: Removing partial LV ${name}/${each}.`]),
          ...unfound,
        ]
          .map((text) => `  ${text}\n`)
          .join(""),
      };
    }),
);
