#!/usr/bin/env node
/** `gnt`, the operator's terminal: reads the command line, and does with it what program.ts and command-tree.ts say. */
import { enableCompileCache } from "node:module";
import path from "node:path";
import { EXIT } from "./exit-codes.ts";
import { nounOfProgram } from "./nouns.ts";
import { processTerminal } from "./terminal.ts";

/** Compiled code is kept between calls: a command line is used many times an hour. */
enableCompileCache();

/** What waits for a job says that it goes on; anything else need not be waited for. */
const INTERRUPTED_MS = 1_000;

const terminal = processTerminal();
const noun = nounOfProgram(path.basename(process.argv[1] ?? "").replace(/\.[cm]?[jt]s$/, ""));
const argv = noun === undefined ? process.argv.slice(2) : [noun, ...process.argv.slice(2)];
const stop = new AbortController();
process.once("SIGINT", () => {
  stop.abort();
  setTimeout(() => process.exit(EXIT.interrupted), INTERRUPTED_MS).unref();
});
// Whoever reads no further, as `head` does, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? EXIT.done : EXIT.failed),
);

const { runToExitCode } = await import("./run-command-line.ts");
process.exitCode = await runToExitCode({ argv, terminal, env: process.env, signal: stop.signal });
