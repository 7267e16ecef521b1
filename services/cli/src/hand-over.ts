/** Becoming another program: with this one's terminal, its signals and its exit code (execve(2)). */
import { accessSync, constants } from "node:fs";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";

/**
 * @param program an absolute path, or a name that is looked up in PATH
 * @param args without the program's own name
 * @throws OpPrereqError where it cannot be started
 */
export function handOver(program: string, args: readonly string[], env: NodeJS.ProcessEnv): never {
  const file = program.startsWith("/") ? program : foundInPath(program, env);
  if (file === undefined || !isExecutable(file))
    throw new OpPrereqError(`${program} is not installed on this machine`, "environment_error");
  if (process.execve === undefined)
    throw new OpPrereqError(`This platform cannot hand over to ${program}: run it yourself`, "environment_error");
  const strings = Object.entries(env).flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, value]],
  );
  return process.execve(file, [path.basename(file), ...args], Object.fromEntries(strings));
}

function foundInPath(program: string, { PATH = "" }: NodeJS.ProcessEnv): string | undefined {
  return PATH.split(":")
    .filter((folder) => folder.startsWith("/"))
    .map((folder) => path.join(folder, program))
    .find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
