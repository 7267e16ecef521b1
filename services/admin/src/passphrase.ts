/** A backup's passphrase: from a file, the standard input, or a terminal that does not show it. */
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { OpPrereqError } from "@gannet/errors";

/** Guessing a backup's passphrase needs nobody's leave: short ones are found. */
const SHORTEST = 12;
const LONGEST_BYTES = 4096;

/**
 * @param file - `-` for the standard input; the terminal is asked when it is absent
 * @param use - a new one has to be of some length, and is asked for twice on a terminal
 * @throws OpPrereqError when there is none
 */
export async function readPassphrase(file: string | undefined, use: "new" | "known"): Promise<string> {
  const passphrase = file === undefined ? await fromTerminal(use) : oneLine(await textOf(file), file);
  if (passphrase === "") throw new OpPrereqError("The passphrase is empty", "wrong_input");
  if (use === "new" && passphrase.length < SHORTEST)
    throw new OpPrereqError(`The passphrase is too short: use ${SHORTEST} characters at least`, "wrong_input");
  return passphrase;
}

async function textOf(file: string): Promise<string> {
  if (file !== "-")
    return await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
      throw new OpPrereqError(`The passphrase cannot be read from ${file} (${cause.code})`, "environment_error", {
        cause,
      });
    });
  let text = "";
  for await (const part of process.stdin.setEncoding("utf8")) {
    text += part;
    if (text.length > LONGEST_BYTES) break;
  }
  return text;
}

function oneLine(text: string, file: string): string {
  const line = text.replace(/\r?\n$/, "");
  if (line.length > LONGEST_BYTES || /[\r\n]/.test(line))
    throw new OpPrereqError(
      `${file === "-" ? "The standard input" : file} holds more than one line: a passphrase is one`,
      "wrong_input",
    );
  return line;
}

async function fromTerminal(use: "new" | "known"): Promise<string> {
  if (!process.stdin.isTTY)
    throw new OpPrereqError(
      "There is no terminal to ask for the passphrase: use --passphrase-file FILE",
      "wrong_input",
    );
  const passphrase = await hidden("Passphrase: ");
  if (use === "new" && (await hidden("The same again: ")) !== passphrase)
    throw new OpPrereqError("The two passphrases differ", "wrong_input");
  return passphrase;
}

/** What is typed is not shown. */
function hidden(question: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  process.stderr.write(question);
  return new Promise((resolve, reject) => {
    terminal.once("SIGINT", () => {
      terminal.close();
      reject(new OpPrereqError("Interrupted", "wrong_input"));
    });
    terminal.question("", (answer) => {
      terminal.close();
      process.stderr.write("\n");
      resolve(answer);
    });
  });
}
