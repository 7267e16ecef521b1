/**
 * What a real tool printed, as text: for each command a line `$ command`, what it printed line by line as `1>…` and
 * `2>…`, and `rc=` with its exit code. A line `# …` stands for what happened between two commands.
 */

export interface Answer {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** One command; or what happened beside them, in words. */
export type SessionStep = { readonly command: readonly string[]; readonly answer: Answer } | { readonly event: string };

/** Words of a command are separated by single spaces. */
export function parseSession(text: string): readonly SessionStep[] {
  return text
    .split(/^(?=[$#] )/m)
    .filter((block) => block !== "")
    .map((block) => {
      const [head = "", ...printed] = block.trimEnd().split("\n");
      if (head.startsWith("#")) return { event: head.slice(2) };
      const output = (prefix: string) =>
        printed
          .filter((line) => line.startsWith(prefix))
          .map((line) => `${line.slice(prefix.length)}\n`)
          .join("");
      const exitCode = Number(printed.at(-1)?.slice("rc=".length));
      return { command: head.slice(2).split(" "), answer: { stdout: output("1>"), stderr: output("2>"), exitCode } };
    });
}

/**
 * A script for bash that runs the commands and prints the session of it.
 * @param events - what is to be done for each event, as a script
 */
export function sessionScript(steps: readonly SessionStep[], events: Readonly<Record<string, string>>): string {
  const parts = steps.map((step) => {
    if ("event" in step) return `${events[step.event] ?? "exit 99"}\necho ${quoted(`# ${step.event}`)}`;
    const { command } = step;
    return [
      `echo ${quoted(`$ ${command.join(" ")}`)}`,
      `${command.map(quoted).join(" ")} >$answers/1 2>$answers/2 </dev/null; code=$?`,
      `sed 's/^/1>/' $answers/1; sed 's/^/2>/' $answers/2; echo rc=$code`,
    ].join("\n");
  });
  return ["export LC_ALL=C", "answers=$(mktemp -d)", ...parts, "rm -r $answers"].join("\n");
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
