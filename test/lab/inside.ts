/** The lab's run inside its namespaces, started by run.ts, on nodes of one kind. */
import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { createLogger } from "@gannet/telemetry";
import { BareMachines } from "./bare-machines.ts";
import type { NodeImage } from "./image/build.ts";
import { Lab } from "./lab.ts";
import { MACHINE_KINDS, type MachineKindName } from "./machine-kind.ts";
import { type Ground, type Outcome, runScenarios, type Scenario, timed } from "./scenario.ts";
import { scenariosOf } from "./scenarios/index.ts";
import type { LabSettings } from "./settings.ts";

export interface Order {
  readonly settings: LabSettings;
  readonly kind: MachineKindName;
  readonly image: NodeImage;
  /** As `cloudGuest` answers it, where a scenario needs it. */
  readonly cloudGuestDir: string | undefined;
  /** Receives the outcome, as JSON. */
  readonly outcomeFile: string;
}

async function main({ settings, kind, image, cloudGuestDir, outcomeFile }: Order): Promise<void> {
  const logger = await createLogger({ name: "lab", level: "warn", format: "pretty" });
  const runner = createCommandRunner({ logger });
  const { workDir } = settings;
  const nodeCount = MACHINE_KINDS[kind].nodes;
  let outcome: Outcome;
  if (kind === "systemd") {
    const machines = await timed("the packages are built", () =>
      BareMachines.start({ workDir, nodeCount, image, runner }),
    );
    outcome = await runOn(machines, [machines], scenariosOf(kind, settings));
  } else {
    const lab = await timed(`Redis and master are up, for nodes of kind ${kind}`, () =>
      Lab.start({ workDir, nodeCount, image, cloudGuestDir, kind, runner, logger }),
    );
    outcome = await runOn(lab, lab.parts(), scenariosOf(kind, settings));
  }
  if (outcome.failed > 0) await keepLogs(settings, kind);
  await writeFile(outcomeFile, JSON.stringify(outcome));
}

async function runOn<On extends Ground>(
  lab: On,
  parts: readonly On[],
  scenarios: readonly Scenario<On>[],
): Promise<Outcome> {
  const outcome = await runScenarios({ ground: lab, parts }, scenarios);
  for (const { name, machine } of lab.running) {
    if (!machine.isOn) continue;
    const { cpuSeconds, peakMib } = await machine.cost();
    console.log(`\n${name}: ${Math.round(cpuSeconds)} s of processor time, ${peakMib} MiB at most`);
  }
  await lab.stop();
  return outcome;
}

async function keepLogs({ workDir, logDir }: LabSettings, kind: MachineKindName): Promise<void> {
  const folder = path.join(logDir, kind);
  for (const name of await readdir(workDir, { recursive: true }))
    if (/(^|\/)(log|[^/]+\.log)$/.test(name)) {
      await mkdir(path.join(folder, path.dirname(name)), { recursive: true, mode: 0o700 });
      await cp(path.join(workDir, name), path.join(folder, name));
    }
  console.log(`\nlogs are in ${folder}`);
}

await main(JSON.parse(process.argv[2] ?? "{}") as Order);
// What still listens to a node that is switched off must not keep this process.
process.exit(0);
