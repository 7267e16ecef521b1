/** What a command line is read as, without anything being asked. */
import { commandTree } from "../src/command-tree.ts";
import { type Call, fullProgram, wordsOf } from "../src/program.ts";

const COMMANDS = commandTree();

/** @throws CommanderError, OpPrereqError */
export function parsed(...argv: readonly string[]): Call {
  const calls: Call[] = [];
  const write = { out: () => {}, note: () => {} };
  const words = wordsOf(argv);
  fullProgram({ commands: COMMANDS, words, write, called: (call) => calls.push(call) }).parse([...argv], {
    from: "user",
  });
  const [call] = calls;
  if (call === undefined) throw new Error(`${argv.join(" ")} calls nothing`);
  return call;
}
