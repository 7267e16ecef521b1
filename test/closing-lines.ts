/**
 * What `make test` ends with, as a reporter of vitest (https://vitest.dev/api/advanced/reporters): each failed test,
 * each file that could not be loaded and each error that no test caught, uncoloured, and last one line,
 * `N passed, N failed, N skipped`. Last, because whoever reads a long log begins at its end; each failure in a line of
 * its own again before it, because the first of many explains the others.
 */
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Reporter, SerializedError, TestModule } from "vitest/node";

const MESSAGE_LINES = 12;
const SUMMARY_CHARACTERS = 240;

const root = path.resolve(import.meta.dirname, "..");

export default class ClosingLines implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: "passed" | "failed" | "skipped") =>
      tests.filter((test) => test.result().state === state).length;
    const failures = [
      ...modules.flatMap((module) => module.errors().map((error) => described(nameOf(module), error))),
      ...modules.flatMap((module) =>
        [...module.children.allSuites()].flatMap((suite) =>
          suite.errors().map((error) => described(`${nameOf(module)}: ${suite.fullName}`, error)),
        ),
      ),
      ...tests.flatMap((test) =>
        (test.result().errors ?? []).map((error) => described(`${nameOf(test.module)}: ${test.fullName}`, error)),
      ),
      ...unhandled.map((error) => described(`caught by no test, in ${whereabouts(error)}`, error)),
    ];
    for (const failure of failures) console.log(failure);
    for (const failure of failures) console.log(failure.split("\n", 2).join(" ").slice(0, SUMMARY_CHARACTERS));
    // What failed outside a test counts as well: a green line must not stand below it.
    const outside = failures.length - tests.reduce((sum, test) => sum + (test.result().errors?.length ?? 0), 0);
    console.log(`${count("passed")} passed, ${count("failed") + outside} failed, ${count("skipped")} skipped`);
  }
}

function nameOf(module: TestModule): string {
  return path.relative(root, module.moduleId);
}

/** vitest notes on such an error which file ran, and the last test to begin before it. */
function whereabouts(error: SerializedError): string {
  const { VITEST_TEST_PATH: file, VITEST_TEST_NAME: name } = error as Readonly<Record<string, unknown>>;
  return `${typeof file === "string" ? path.relative(root, file) : "no file"}: ${String(name)}`;
}

function described(what: string, error: SerializedError): string {
  const text = error.stack?.includes(error.message) ? error.stack : `${error.message}\n${error.stack ?? ""}`;
  const lines = stripVTControlCharacters(text).split("\n").slice(0, MESSAGE_LINES);
  return [`failed: ${what}`, ...lines.map((line) => `    ${line}`)].join("\n");
}
