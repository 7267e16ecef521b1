/** `gnt instance batch-create` (gnt-instance(8)): many instances from one file, which an allocator places together. */
import { command, InstanceMultiAlloc } from "@gannet/opcodes";
import type { CommandSpec } from "../command.ts";
import { opcodeCommand } from "./opcode-command.ts";

const multiAlloc = opcodeCommand(
  InstanceMultiAlloc,
  command("instance batch-create", { args: ["instances"], doc: "Make all instances that a file describes." }),
);

export const BATCH_CREATE_COMMAND: CommandSpec = {
  ...multiAlloc,
  shape: () => ({
    ...multiAlloc.shape(),
    args: [{ name: "file", doc: "JSON: a list of parameters of instance add.", required: true, variadic: false }],
  }),
  run: (workplace, [file], gathered) => multiAlloc.run(workplace, [`@${file}`], gathered),
};
