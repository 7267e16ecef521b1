/** `gnt instance console`: onto a running instance's console, by way of its node. */
import { hostname } from "node:os";
import type { CommandSpec } from "../command.ts";
import { handOver } from "../hand-over.ts";
import { controlFlag, JSON_OUTPUT } from "../options/common-options.ts";

export const CONSOLE_COMMAND: CommandSpec = {
  words: ["instance", "console"],
  doc: "Open the console of a running instance.",
  shape: () => ({
    args: [{ name: "instance_name", doc: "The instance.", required: true, variadic: false }],
    options: [controlFlag("--show-cmd", "Print the command instead of running it.", "showCommand"), JSON_OUTPUT],
  }),
  run: async ({ client, terminal, env }, [name], { control }) => {
    const connection = await client();
    const answer = await connection.get("/2/instances/:instance_name/console", { instance_name: String(name) });
    connection[Symbol.dispose]();
    if (control.json === true) terminal.out(JSON.stringify(answer, undefined, 2));
    else if (answer.kind === "msg") terminal.out(answer.message);
    else if (answer.kind === "ssh") {
      const command = consoleCommand(answer);
      if (control.showCommand !== true) return handOver(command[0] ?? "", command.slice(1), env);
      terminal.out(command.map(quoted).join(" "));
    } else terminal.out(`${answer.kind}://${answer.host}:${answer.port}`);
    return 0;
  },
};

interface ShellConsole {
  readonly host: string;
  readonly user: string;
  readonly command: readonly string[];
}

/** The command as it stands on the node itself; over SSH from elsewhere, whose argument goes through a shell there. */
function consoleCommand({ host, user, command }: ShellConsole): readonly string[] {
  const isHere = [hostname(), "localhost"].includes(host) && process.getuid?.() === 0;
  return isHere ? command : ["ssh", "-t", "-l", user, "--", host, command.map(quoted).join(" ")];
}

/** As a POSIX shell reads it as one word. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
