/** What all simulated LVM tools have in common: their arguments, their faults, and how they fail. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { runWithFaults, type ToolAnswer } from "../faults.ts";
import type { LogicalVolume, LvmState, VolumeGroup } from "./state.ts";

/** LVM's exit codes. */
const COMMAND_LINE_ERROR = 3;
const FAILED = 5;

/** The end of a tool with its complaint; what it had said before goes to standard output. */
export class LvmFailure extends Error {
  readonly exitCode: number;
  readonly stdout: string;

  constructor(stderr: string, options: { readonly exitCode?: number; readonly stdout?: string } = {}) {
    super(stderr);
    this.exitCode = options.exitCode ?? FAILED;
    this.stdout = options.stdout ?? "";
  }
}

export function refusedArguments(tool: string, text: string): LvmFailure {
  return new LvmFailure(`  ${text}\n  Run \`${tool} --help' for more information.`, { exitCode: COMMAND_LINE_ERROR });
}

type Options = NonNullable<ParseArgsConfig["options"]>;
type Parsed<O extends Options> = ReturnType<
  typeof parseArgs<{ options: O; allowPositionals: true; strict: true; args: string[] }>
>;

/** The body of a tool's program: the node's folder comes before the tool's own arguments. */
export async function runLvmTool<O extends Options>(
  tool: string,
  options: O,
  work: (nodeFolder: string, values: Parsed<O>["values"], names: readonly string[]) => Promise<ToolAnswer> | ToolAnswer,
): Promise<void> {
  const [nodeFolder = "", ...args] = process.argv.slice(2);
  await runWithFaults(nodeFolder, tool, async () => {
    try {
      const { values, positionals } = parseToolArguments(tool, args, options);
      return await work(nodeFolder, values, positionals);
    } catch (error) {
      if (!(error instanceof LvmFailure)) throw error;
      return { exitCode: error.exitCode, stdout: error.stdout, stderr: `${error.message}\n` };
    }
  });
}

function parseToolArguments<O extends Options>(tool: string, args: string[], options: O): Parsed<O> {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch {
    const unknown = args.find((arg) => arg.startsWith("-")) ?? "";
    throw new LvmFailure(`${tool}: unrecognized option '${unknown}'\n  Error during parsing of command line.`, {
      exitCode: COMMAND_LINE_ERROR,
    });
  }
}

export function groupNamed(state: LvmState, name: string): VolumeGroup {
  const group = state.volumeGroups.find((each) => each.name === name);
  if (group === undefined)
    throw new LvmFailure(`  Volume group "${name}" not found\n  Cannot process volume group ${name}`);
  return group;
}

/** @param name - `vg/lv`, or its device's path */
export function splitName(name: string): { readonly groupName: string; readonly volumeName: string } {
  const [volumeName = "", groupName = ""] = name.split("/").reverse();
  return { groupName, volumeName };
}

export function findVolume(
  state: LvmState,
  name: string,
): { readonly group: VolumeGroup; readonly volume: LogicalVolume } {
  const { groupName, volumeName } = splitName(name);
  const group = groupNamed(state, groupName);
  const volume = group.logicalVolumes.find((each) => each.name === volumeName);
  if (volume === undefined) throw new LvmFailure(`  Failed to find logical volume "${groupName}/${volumeName}"`);
  return { group, volume };
}

/** What every tool says of a group that lost a physical volume. */
export function missingWarnings(groups: readonly VolumeGroup[]): string[] {
  return groups.flatMap(({ name: group, physicalVolumes }) =>
    physicalVolumes
      .filter(({ missing }) => missing)
      .flatMap(({ uuid, name }) => [
        `WARNING: Couldn't find device with uuid ${uuid}.`,
        `WARNING: VG ${group} is missing PV ${uuid} (last written to ${name}).`,
      ]),
  );
}

/** Nothing but a repair may change a group that lost a physical volume. */
export function requireWhole(group: VolumeGroup): void {
  const warnings = missingWarnings([group]);
  if (warnings.length === 0) return;
  const texts = [
    ...warnings,
    `Cannot change VG ${group.name} while PVs are missing.`,
    "See vgreduce --removemissing and vgextend --restoremissing.",
    `Cannot process volume group ${group.name}`,
  ];
  throw new LvmFailure(texts.map((text) => `  ${text}`).join("\n"));
}
