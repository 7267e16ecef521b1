/** `gannet-admin import-ganeti`: a Ganeti cluster goes on as Gannet's, without its disks being touched. */
import { readFile } from "node:fs/promises";
import { type ConfigRows, readConfiguration, replaceConfiguration } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import { Command } from "commander";
import { type MachineOptions, readMasterMachine } from "../master-machine.ts";
import { forgetWatermark } from "../watermark-file.ts";
import { withoutMasters } from "../without-masters.ts";
import { openProblems, reportLines } from "./report.ts";
import { type Translation, translateConfiguration } from "./translation.ts";

interface ImportOptions extends MachineOptions {
  readonly dryRun: boolean;
  readonly skip: readonly string[];
  readonly nodeAgent: ReadonlyMap<string, string>;
  readonly force: boolean;
}

export const importGaneti = new Command("import-ganeti")
  .description("Take over the configuration of a Ganeti cluster (2.16 to 3.1), without touching a disk")
  .argument("<file>", "Ganeti's config.data")
  .option("--dry-run", "only tell what would be taken over, and what cannot be", false)
  .option("--skip <path>", "leave out what the report names by this path, or below it; may be repeated", collect, [])
  .option(
    "--node-agent <name=host:port>",
    "where a node's agent listens, if not at its primary address and port 1811; may be repeated",
    collectAgent,
    new Map(),
  )
  .option("--force", "also over a cluster that has instances or several nodes: its configuration is lost", false)
  .option("--config <file>", "configuration file of the master daemon")
  .option("--root <dir>", "prefix of the system's layout", "/")
  .action(runImport);

/** @throws OpPrereqError when there are problems that `skip` does not name, or the cluster cannot be replaced */
export async function runImport(file: string, options: ImportOptions): Promise<void> {
  const translation = translateConfiguration(await readConfigData(file), {
    skip: options.skip,
    agentAddresses: options.nodeAgent,
  });
  for (const line of reportLines(file, translation)) console.log(line);
  const rows = acceptable(translation);
  if (options.dryRun) return;
  const machine = await readMasterMachine(options);
  const serial = await withoutMasters(machine.redis, async (redis, fence) => {
    const present = (await readConfiguration(redis))?.rows;
    if (present !== undefined && !options.force) refuseCluster(present);
    // Tokens of the remote API belong to this installation; Ganeti has none.
    return await replaceConfiguration(redis, { ...rows, tokens: present?.tokens ?? [] }, fence, fileSerial(rows));
  });
  await forgetWatermark(machine.stateDir);
  console.log(`\nThe cluster ${rows.cluster.name} is taken over, as serial ${serial}. Start gannet-master.`);
}

function acceptable(translation: Translation): ConfigRows {
  const open = openProblems(translation);
  const [unused] = translation.unusedSkips;
  if (unused !== undefined) throw new OpPrereqError(`--skip ${unused} names no problem of this file`, "wrong_input");
  if (translation.rows === undefined || open.length > 0)
    throw new OpPrereqError(
      `${open.length} ${open.length === 1 ? "thing" : "things"} of this configuration cannot be taken over; ` +
        "nothing was changed. Put them right in Ganeti, or leave them out with --skip PATH",
      "wrong_input",
    );
  return translation.rows;
}

/** What `gannet-admin init` has made can be replaced without asking. */
function refuseCluster({ cluster, instances = [], nodes = [] }: ConfigRows): void {
  if (instances.length === 0 && nodes.length <= 1) return;
  throw new OpPrereqError(
    `There is the cluster ${cluster.name} with ${nodes.length} nodes and ${instances.length} instances in Redis; ` +
      "--force puts the imported one in its place",
    "already_exists",
  );
}

function fileSerial({ cluster }: ConfigRows): number {
  return Math.max(cluster.serialNo, 1);
}

/** @throws OpPrereqError naming the file */
async function readConfigData(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(`${file} cannot be read (${cause.code})`, "environment_error", { cause });
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new OpPrereqError(`${file} is not JSON: ${(cause as Error).message}`, "wrong_input", { cause });
  }
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function collectAgent(value: string, before: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const [, name, address] = /^([^=]+)=(.+:\d{1,5})$/.exec(value) ?? [];
  if (name === undefined || address === undefined)
    throw new OpPrereqError(`--node-agent ${value}: the form is name=host:port`, "wrong_input");
  return new Map(before).set(name.toLowerCase(), address);
}
