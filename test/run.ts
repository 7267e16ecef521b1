/**
 * `make test`: runs vitest, and closes with what failed and one line, `N passed, N failed, N skipped`. Whoever skips a
 * test prints the reason.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";

/** What of vitest's JSON report is read here. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly FileResult[];
}

interface FileResult {
  readonly name: string;
  readonly status: string;
  readonly message: string;
  readonly assertionResults: readonly {
    readonly fullName: string;
    readonly status: string;
    readonly failureMessages: readonly string[];
  }[];
}

const MESSAGE_LINES = 12;

const root = path.resolve(import.meta.dirname, "..");
const dir = mkdtempSync(path.join(tmpdir(), "gannet-test-"));
const report = path.join(dir, "report.json");
const vitest = path.join(root, "node_modules/vitest/vitest.mjs");
const child = spawn(
  process.execPath,
  [
    vitest,
    "run",
    "--root",
    root,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { stdio: "inherit", cwd: root },
);
const code = await new Promise<number>((resolve) => child.once("exit", (status) => resolve(status ?? 1)));
try {
  const result = JSON.parse(readFileSync(report, "utf8")) as Report;
  const broken = result.testResults.filter(isBroken);
  const failed = result.numFailedTests + broken.length;
  for (const file of result.testResults) for (const line of failuresOf(file)) console.log(line);
  const skipped = result.numPendingTests + result.numTodoTests;
  console.log(`${result.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed > 0 || result.numPassedTests === 0 ? 1 : code;
} finally {
  rmSync(dir, { recursive: true });
}

/** A file that could not even be loaded has no tests to count, but it has failed. */
function isBroken(file: FileResult): boolean {
  return file.status === "failed" && file.assertionResults.length === 0;
}

/** Last, because whoever reads a long log begins at its end. */
function failuresOf(file: FileResult): readonly string[] {
  const name = path.relative(root, file.name);
  if (isBroken(file)) return [`failed: ${name}`, beginningOf(file.message)];
  return file.assertionResults
    .filter(({ status }) => status === "failed")
    .flatMap(({ fullName, failureMessages }) => [`failed: ${name}: ${fullName}`, ...failureMessages.map(beginningOf)]);
}

function beginningOf(message: string): string {
  const lines = stripVTControlCharacters(message).split("\n").slice(0, MESSAGE_LINES);
  return lines.map((line) => `    ${line}`).join("\n");
}
