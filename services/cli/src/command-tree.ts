/**
 * Every command. Most follow from declarations: an opcode's `cli`, a direct method's `cli`. What is said here goes
 * before them where both have the same words: lists and tags are asked for at once, without a job.
 */
import { command, InstanceCreate, OPCODES, RESOURCES } from "@gannet/opcodes";
import type { CommandSpec } from "./command.ts";
import { CLUSTER_COMMANDS } from "./commands/cluster-commands.ts";
import { CONSOLE_COMMAND } from "./commands/console-command.ts";
import { directCommand } from "./commands/direct-command.ts";
import { JOB_COMMANDS } from "./commands/job-commands.ts";
import { LISTS, listCommand, listFieldsCommand } from "./commands/list-command.ts";
import { opcodeCommand } from "./commands/opcode-command.ts";
import { tagCommands } from "./commands/tag-commands.ts";

/** Another command of an opcode that has one already. */
const IMPORT = opcodeCommand(
  InstanceCreate,
  command("backup import", {
    args: ["instance_name"],
    fixed: { mode: "import" },
    doc: "Make an instance from an export.",
  }),
);

function ownCommands(): readonly CommandSpec[] {
  return [
    ...LISTS.map(listCommand),
    ...LISTS.filter(({ words }) => words.endsWith(" list")).map(({ words, resource }) =>
      listFieldsCommand(words.split(" ")[0] ?? "", resource),
    ),
    ...(["cluster", "node", "instance", "group", "network", "tags"] as const).flatMap(tagCommands),
    ...JOB_COMMANDS,
    ...CLUSTER_COMMANDS,
    CONSOLE_COMMAND,
    IMPORT,
  ];
}

function directCommands(): readonly CommandSpec[] {
  return RESOURCES.flatMap(({ methods }) => [...methods.values()]).flatMap((method) =>
    method.kind === "direct" ? (method.cli ?? []).map((cli) => directCommand(method, cli)) : [],
  );
}

function opcodeCommands(): readonly CommandSpec[] {
  return [...OPCODES.values()].flatMap((opcode) => (opcode.cli === null ? [] : [opcodeCommand(opcode, opcode.cli)]));
}

/** All commands, by their words and in their order; of those with the same words the first. */
export function commandTree(): readonly CommandSpec[] {
  const byWords = new Map<string, CommandSpec>();
  for (const spec of [...ownCommands(), ...directCommands(), ...opcodeCommands()]) {
    const words = spec.words.join(" ");
    if (!byWords.has(words)) byWords.set(words, spec);
  }
  return [...byWords].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, spec]) => spec);
}
