/** `gannet-admin hash-password`: a line for the users file whose password nobody can read there. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { OpPrereqError } from "@gannet/errors";
import { hashPassword } from "@gannet/pki";
import { Command } from "commander";

const USER = /^[^\s:#][^\s:]{0,127}$/;
const OPTIONS: readonly string[] = ["read", "write", "root"];
/** Longer ones are a mistake, such as a file that was piped in. */
const PASSWORD_BYTES = 1024;

export const hashPasswordCommand = new Command("hash-password")
  .description("print a line for the remote API's users file, with the password as a scrypt hash")
  .argument("<user>", "name of the user")
  .option("--options <list>", `what the user may do: ${OPTIONS.join(", ")}, separated by commas`, "")
  .addHelpText("after", "\nThe password is asked for, or read as one line where the input is no terminal.")
  .action(async (user: string, { options }: { readonly options: string }) => {
    const rights = options.split(",").filter((option) => option !== "");
    const wrong = rights.find((option) => !OPTIONS.includes(option));
    if (wrong !== undefined) throw wrongInput(`There is no option ${wrong}; there are ${OPTIONS.join(", ")}`);
    if (!USER.test(user)) throw wrongInput("A user's name has neither blanks nor colons, and does not begin with #");
    const password = await (process.stdin.isTTY ? askTwice() : readLine());
    if (password === "" || Buffer.byteLength(password) > PASSWORD_BYTES)
      throw wrongInput(`A password has 1 to ${PASSWORD_BYTES} bytes`);
    console.log(
      [user, `{scrypt}${await hashPassword(password)}`, ...(options === "" ? [] : [rights.join(",")])].join(" "),
    );
  });

async function readLine(): Promise<string> {
  process.stdin.setEncoding("utf8");
  let text = "";
  for await (const chunk of process.stdin) {
    text += chunk;
    if (text.includes("\n") || text.length > PASSWORD_BYTES) break;
  }
  return text.split(/\r?\n/, 1)[0] ?? "";
}

async function askTwice(): Promise<string> {
  const password = await ask("Password: ");
  if (password !== (await ask("Again: "))) throw wrongInput("These were two passwords");
  return password;
}

/** What is typed is not shown. */
async function ask(prompt: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  process.stderr.write(prompt);
  try {
    return await terminal.question("");
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}

function wrongInput(message: string): OpPrereqError {
  return new OpPrereqError(message, "wrong_input");
}
