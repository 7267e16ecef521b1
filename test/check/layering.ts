/** Applies `.dependency-cruiser.cjs`. A run that saw no module, or too few, fails: it would prove nothing. */
import { spawnSync } from "node:child_process";
import path from "node:path";

const FEWEST_MODULES = 100;

const root = path.resolve(import.meta.dirname, "../..");
// The link leads to the script whatever its name is in this version.
const cruiser = path.join(root, "node_modules/.bin/depcruise");
const run = spawnSync(process.execPath, [cruiser, "--config", "--output-type", "json", "libs", "services", "deploy"], {
  cwd: root,
  encoding: "utf8",
  maxBuffer: 256 * 1024 * 1024,
});
const { summary } = JSON.parse(run.stdout) as {
  summary: { totalCruised: number; violations: { rule: { name: string }; from: string; to: string }[] };
};
for (const { rule, from, to } of summary.violations) console.error(`${rule.name}: ${from} imports ${to}`);
const seen = summary.totalCruised >= FEWEST_MODULES;
if (!seen) console.error(`only ${summary.totalCruised} modules were seen`);
console.log(`layering: ${summary.totalCruised} modules, ${summary.violations.length} violations`);
process.exitCode = seen && summary.violations.length === 0 ? 0 : 1;
