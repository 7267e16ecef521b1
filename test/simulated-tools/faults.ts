/**
 * What a simulated tool is to do wrong, by a file `faults/<tool>` in its node's folder, which stays until it is
 * removed:
 *
 *     {"delayMs": 500}                                                slow, then as always
 *     {"hang": true}                                                  never ends by itself
 *     {"answer": {"exitCode": 5, "stderr": "  disk on fire\n"}}       fails
 *     {"answer": {"exitCode": 0}}                                     succeeds without doing its work
 *     {"answer": {"exitCode": 0, "stdout": "%$§!\n"}}                 prints garbage
 *     {"when": "after", ...}                                          does its work first
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { layoutOf } from "./node-layout.ts";

export interface ToolFault {
  readonly when?: "before" | "after";
  readonly delayMs?: number;
  readonly hang?: boolean;
  readonly answer?: ToolAnswer;
}

/** How a tool ends. */
export interface ToolAnswer {
  readonly exitCode: number;
  readonly stdout?: string;
  readonly stderr?: string;
}

export function setFault(nodeFolder: string, tool: string, fault: ToolFault): void {
  mkdirSync(layoutOf(nodeFolder).faultsFolder, { recursive: true });
  writeFileSync(faultFile(nodeFolder, tool), JSON.stringify(fault));
}

export function clearFault(nodeFolder: string, tool: string): void {
  rmSync(faultFile(nodeFolder, tool), { force: true });
}

/** Run a tool with whatever is to go wrong with it, print its answer, and end the process. */
export async function runWithFaults(
  nodeFolder: string,
  tool: string,
  work: () => Promise<ToolAnswer> | ToolAnswer,
): Promise<void> {
  const fault = readFault(nodeFolder, tool);
  const before = fault?.when === "after" ? undefined : await suffer(fault);
  const done = before ?? (await work());
  const { exitCode, stdout = "", stderr = "" } = (fault?.when === "after" ? await suffer(fault) : undefined) ?? done;
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = exitCode;
}

/** The answer that the fault gives instead of the tool's, if any. */
async function suffer(fault: ToolFault | undefined): Promise<ToolAnswer | undefined> {
  if (fault?.delayMs !== undefined) await delay(fault.delayMs);
  // A timer, because a pending promise alone would not keep the process alive.
  while (fault?.hang) await delay(60_000);
  return fault?.answer;
}

function readFault(nodeFolder: string, tool: string): ToolFault | undefined {
  try {
    return JSON.parse(readFileSync(faultFile(nodeFolder, tool), "utf8"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function faultFile(nodeFolder: string, tool: string): string {
  return path.join(layoutOf(nodeFolder).faultsFolder, tool);
}
