/**
 * `make test`: runs vitest and closes with one line, `N passed, N failed, N skipped`. Whoever skips a test
 * prints the reason.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

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
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    readFileSync(report, "utf8"),
  ) as {
    numPassedTests: number;
    numFailedTests: number;
    numPendingTests: number;
    numTodoTests: number;
    testResults: { status: string; assertionResults: unknown[] }[];
  };
  // A file that could not even be loaded has no tests to count, but it has failed.
  const broken = testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0).length;
  const failed = numFailedTests + broken;
  console.log(`${numPassedTests} passed, ${failed} failed, ${numPendingTests + numTodoTests} skipped`);
  process.exitCode = failed > 0 || numPassedTests === 0 ? 1 : code;
} finally {
  rmSync(dir, { recursive: true });
}
