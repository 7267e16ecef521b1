/** How a command ended, and how that is told. */
import path from "node:path";
import { formatCommand, maskSecrets } from "./command-line.ts";
import type { Command } from "./command-runner-contract.ts";

export type CommandEnd =
  | { readonly kind: "exit"; readonly exitCode: number }
  | { readonly kind: "signal"; readonly signal: string }
  | { readonly kind: "not started"; readonly reason: string }
  | { readonly kind: "timeout" }
  | { readonly kind: "aborted" };

/** What a failure's message needs of a command. */
export type ToldCommand = Pick<Command, "argv" | "env" | "cwd" | "secretArgs" | "timeoutMs">;

/** Of what it printed, from the end, in an error's message. */
const MESSAGE_TAIL_CHARS = 1_000;

/** Why a command must not even be tried, or undefined. */
export function refuse(command: Pick<Command, "argv" | "env">): string | undefined {
  if (!path.isAbsolute(command.argv[0])) return "the program's path is not absolute";
  if (command.argv.some((arg) => arg.includes("\0"))) return "an argument holds a NUL character";
  if (Object.values(command.env ?? {}).some((value) => value.includes("\0")))
    return "a variable of its environment holds a NUL character";
  return undefined;
}

/** @param code - of the system call's error */
export function startFailure(command: Pick<Command, "cwd">, code: string | undefined): string {
  if (code === "ENOENT" && command.cwd === undefined) return "there is no such program";
  if (code === "ENOENT") return `there is no such program, or no folder ${command.cwd}`;
  if (code === "EACCES") return "it may not be executed";
  if (code === "E2BIG") return "its arguments and environment are too long";
  return code ?? "unknown reason";
}

export function failureMessage(command: ToldCommand, end: CommandEnd, printed: string): string {
  const text = maskSecrets(command, printed.trim());
  const tail = text.length > MESSAGE_TAIL_CHARS ? `…${text.slice(-MESSAGE_TAIL_CHARS)}` : text;
  return `Command ${formatCommand(command)} ${describeEnd(command, end)}${tail === "" ? "" : `: ${tail}`}`;
}

function describeEnd(command: ToldCommand, end: CommandEnd): string {
  switch (end.kind) {
    case "exit":
      return `failed with exit code ${end.exitCode}`;
    case "signal":
      return `was killed by ${end.signal}`;
    case "not started":
      return `could not be started, ${end.reason}`;
    case "timeout":
      return `did not end within ${command.timeoutMs / 1000} s and was killed`;
    case "aborted":
      return "was stopped because its operation was aborted";
  }
}
