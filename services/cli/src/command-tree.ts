/**
 * Every command. Most follow from declarations: an opcode's `cli`, a direct method's `cli`. What is said here goes
 * before them where both have the same words: lists and tags are asked for at once, without a job.
 */
import { command, InstanceCreate, OPCODES, RESOURCES } from "@gannet/opcodes";
import type { CommandSpec } from "./command.ts";
import { BATCH_CREATE_COMMAND } from "./commands/batch-create-command.ts";
import { cancelCommand } from "./commands/cancel-command.ts";
import { CLUSTER_COMMANDS } from "./commands/cluster-commands.ts";
import { CONSOLE_COMMAND } from "./commands/console-command.ts";
import { directCommand } from "./commands/direct-command.ts";
import { EPO_COMMAND } from "./commands/epo-command.ts";
import { JOB_COMMANDS } from "./commands/job-commands.ts";
import { LISTS, listCommand, listFieldsCommand } from "./commands/list-command.ts";
import { NODE_COMMANDS } from "./commands/node-commands.ts";
import { opcodeCommand } from "./commands/opcode-command.ts";
import { OS_COMMANDS } from "./commands/os-commands.ts";
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
    ...NODE_COMMANDS,
    ...OS_COMMANDS,
    BATCH_CREATE_COMMAND,
    EPO_COMMAND,
    CONSOLE_COMMAND,
    IMPORT,
  ];
}

/** Commands of direct methods that take more than the method. */
const WIDENED: Readonly<Record<string, (command: CommandSpec) => CommandSpec>> = { "job cancel": cancelCommand };

function directCommands(): readonly CommandSpec[] {
  return RESOURCES.flatMap(({ methods }) => [...methods.values()]).flatMap((method) =>
    method.kind === "direct"
      ? (method.cli ?? []).map((cli) => {
          const made = directCommand(method, cli);
          return WIDENED[cli.words]?.(made) ?? made;
        })
      : [],
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
