import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CommandError } from "@gannet/errors";
import { type Logger, silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createCommandRunner } from "../src/index.ts";

const runner = createCommandRunner({ logger: silentLogger(), killGraceMs: 200 });
const sh = (script: string, ...args: string[]) => ["/bin/sh", "-c", script, "sh", ...args] as const;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-exec-"));
});
afterAll(() => rm(folder, { recursive: true }));

const isRunning = async (pid: number) =>
  readFile(`/proc/${pid}/stat`, "utf8").then(
    (text) => !/\) Z /.test(text),
    () => false,
  );
const pidIn = async (file: string) => {
  const text = await vi.waitFor(async () => {
    const found = await readFile(file, "utf8");
    expect(found).toMatch(/\n/);
    return found;
  });
  return Number(text);
};

test("outputs are kept apart and the environment is clean", async () => {
  process.env.GANNET_TEST_LEAK = "1";
  const result = await runner.run({ argv: sh("env; pwd; echo problem >&2"), timeoutMs: 5_000, env: { OS_API: "20" } });
  expect(result.stdout.split("\n").sort()).toEqual([
    "",
    "/",
    "LC_ALL=C",
    "OS_API=20",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PWD=/",
  ]);
  expect(result).toMatchObject({ stderr: "problem\n", exitCode: 0, truncated: false });
});

test("arguments reach the program as they are, without a shell", async () => {
  const args = ["a b", "$(id)", "; rm -rf /", "'", '"', "*", "-n", "ü\n"];
  const result = await runner.run({ argv: ["/usr/bin/printf", "%s\\0", ...args], timeoutMs: 5_000 });
  expect(result.stdout.split("\0").slice(0, -1)).toEqual(args);
});

test("standard input is the input, or closed", async () => {
  expect((await runner.run({ argv: ["/bin/cat"], timeoutMs: 5_000, input: "hello" })).stdout).toBe("hello");
  expect((await runner.run({ argv: ["/bin/cat"], timeoutMs: 5_000 })).stdout).toBe("");
});

test("a program that does not read its input is no failure", async () => {
  const input = Buffer.alloc(4 * 1024 * 1024, "x");
  expect((await runner.run({ argv: ["/bin/true"], timeoutMs: 5_000, input })).exitCode).toBe(0);
});

test("an error names the command, its exit code and the end of standard error", async () => {
  const failing = runner.run({ argv: sh("echo first >&2; echo the disk is full >&2; exit 3"), timeoutMs: 5_000 });
  await expect(failing).rejects.toThrow(CommandError);
  await expect(failing).rejects.toThrow(/^Command \/bin\/sh -c .* failed with exit code 3: .*the disk is full$/s);
});

test("exit codes that are no failure are answered", async () => {
  const result = await runner.run({ argv: sh("exit 5"), timeoutMs: 5_000, okExitCodes: [0, 5] });
  expect(result.exitCode).toBe(5);
});

test.each([
  [["/no/such/program"], {}, /could not be started, there is no such program/],
  [["true"], {}, /path is not absolute/],
  [["/etc/passwd"], {}, /may not be executed/],
  [["/bin/true", "a\0b"], {}, /NUL/],
  [["/bin/true"], { env: { OSP_X: "a\0b" } }, /NUL/],
  [["/bin/true"], { cwd: "/no/such/folder" }, /no folder \/no\/such\/folder/],
  [["/bin/true", "x".repeat(3_000_000)], {}, /too long/],
  [sh("kill -SEGV $$"), {}, /was killed by SIGSEGV/],
] as const)("%j is a clear error", async (argv, options, message) => {
  const failing = runner.run({ argv: argv as never, timeoutMs: 5_000, ...options });
  await expect(failing).rejects.toThrow(CommandError);
  await expect(failing).rejects.toThrow(message);
});

test("one to be left is told of at once, and killed nevertheless", async () => {
  const patient = createCommandRunner({ logger: silentLogger(), killGraceMs: 4_000 });
  const file = path.join(folder, "left.pid");
  const script = "trap '' TERM; echo $$ > $1; while :; do sleep 0.1; done";
  const begun = performance.now();
  const failing = patient.run({ argv: sh(script, file), timeoutMs: 300, leaveWhenKilled: true });
  await expect(failing).rejects.toThrow(/did not end within 0.3 s/);
  expect(performance.now() - begun).toBeLessThan(4_000);
  const pid = await pidIn(file);
  expect(await isRunning(pid)).toBe(true);
  await vi.waitFor(async () => expect(await isRunning(pid)).toBe(false), 10_000);
});

test("on timeout grandchildren that ignore SIGTERM are gone too", async () => {
  const file = path.join(folder, "grandchild");
  const script = `sh -c 'trap "" TERM; echo $$ > ${file}; while :; do sleep 1; done' & wait`;
  const failing = runner.run({ argv: sh(script), timeoutMs: 500 });
  const pid = await pidIn(file);
  expect(await isRunning(pid)).toBe(true);
  await expect(failing).rejects.toThrow(/did not end within 0.5 s and was killed/);
  expect(await isRunning(pid)).toBe(false);
});

test("abort ends the whole process group before it returns", async () => {
  const file = path.join(folder, "aborted");
  const abort = new AbortController();
  const failing = runner.run({
    argv: sh(`sleep 60 & echo $! > ${file}; wait`),
    timeoutMs: 60_000,
    signal: abort.signal,
  });
  const pid = await pidIn(file);
  abort.abort();
  await expect(failing).rejects.toThrow(/was stopped because its operation was aborted/);
  expect(await isRunning(pid)).toBe(false);
});

test("a command whose operation is aborted already is not started", async () => {
  const file = path.join(folder, "never");
  await expect(
    runner.run({ argv: ["/usr/bin/touch", file], timeoutMs: 5_000, signal: AbortSignal.abort() }),
  ).rejects.toThrow(/aborted/);
  await expect(stat(file)).rejects.toThrow("ENOENT");
});

test("an abort while the command is being started ends it", async () => {
  const abort = new AbortController();
  const logFile = path.join(folder, "starting.log");
  const failing = runner.run({ argv: ["/bin/sleep", "60"], timeoutMs: 20_000, signal: abort.signal, logFile });
  abort.abort();
  await expect(failing).rejects.toThrow(/aborted/);
});

test("a stopped process is ended as well", async () => {
  const failing = runner.run({ argv: sh("kill -STOP $$"), timeoutMs: 300 });
  await expect(failing).rejects.toThrow(/did not end within/);
});

test("a daemon left in the background that holds the outputs does not hold up the answer", async () => {
  const result = await runner.run({ argv: sh("echo started; setsid sleep 30 & echo $! "), timeoutMs: 20_000 });
  expect(result.stdout).toMatch(/^started\n/);
  expect(result.durationMs).toBeLessThan(10_000);
  process.kill(Number(result.stdout.split("\n")[1]), "SIGKILL");
});

test("of huge outputs the end is kept, in memory that does not grow with them", async () => {
  const before = process.memoryUsage().rss;
  const script = "head -c 200000000 /dev/zero | tr '\\0' x; echo; echo the end";
  const result = await runner.run({ argv: sh(script), timeoutMs: 60_000, outputLimitBytes: 64 * 1024 });
  expect(result.truncated).toBe(true);
  expect(result.stdout.length).toBe(64 * 1024);
  expect(result.stdout.endsWith("xxx\nthe end\n")).toBe(true);
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
});

test("the log file is private, appended to, and bounded", async () => {
  const logFile = path.join(folder, "os.log");
  await runner.run({ argv: sh("echo one; echo two >&2"), timeoutMs: 5_000, logFile });
  await expect(runner.run({ argv: sh("echo three; exit 1"), timeoutMs: 5_000, logFile })).rejects.toThrow(CommandError);
  expect((await readFile(logFile, "utf8")).split("\n").sort()).toEqual(["", "one", "three", "two"]);
  expect((await stat(logFile)).mode & 0o777).toBe(0o600);

  await runner.run({ argv: sh("head -c 30000000 /dev/zero"), timeoutMs: 30_000, logFile });
  expect((await stat(logFile)).size).toBeLessThan(17 * 1024 * 1024);
});

test("no more than so many commands run at once, in the order in which they came", async () => {
  const bounded = createCommandRunner({ logger: silentLogger(), maxParallel: 3, killGraceMs: 100 });
  const marks = path.join(folder, "at-once");
  const script = 'echo "+ $1" >> "$0"; sleep 0.05; echo "- $1" >> "$0"';
  const one = (index: number) => bounded.run({ argv: ["/bin/sh", "-c", script, marks, `${index}`], timeoutMs: 20_000 });
  await Promise.all(Array.from({ length: 12 }, (_, index) => one(index)));
  const events = (await readFile(marks, "utf8")).trim().split("\n");
  let running = 0;
  const most = Math.max(...events.map((event) => (running += event.startsWith("+") ? 1 : -1)));
  expect(most).toBe(3);
  const begun = events.filter((event) => event.startsWith("+")).map((event) => Number(event.slice(2)));
  for (const [place, index] of begun.entries()) expect(Math.abs(place - index)).toBeLessThan(3);
});

test("whoever waits for a place can give up, failed and merged commands give theirs back, long ones need none", async () => {
  const bounded = createCommandRunner({ logger: silentLogger(), maxParallel: 1, killGraceMs: 100 });
  const stop = new AbortController();
  const first = bounded.run({ argv: ["/bin/sleep", "60"], timeoutMs: 30_000, signal: stop.signal });
  const waiting = new AbortController();
  const second = bounded.run({ argv: ["/bin/true"], timeoutMs: 5_000, signal: waiting.signal });
  const third = bounded.run({ argv: sh("echo merged"), timeoutMs: 5_000, mergeOutputs: true });
  await bounded.run({ argv: ["/bin/true"], timeoutMs: 60 * 60_000 });
  waiting.abort();
  await expect(second).rejects.toThrow(/aborted/);
  stop.abort();
  await expect(first).rejects.toThrow(/aborted/);
  expect(await third).toMatchObject({ stdout: "merged\n" });
  for (const argv of [["/missing"], ["/bin/false"], ["relative"]] as const)
    await expect(bounded.run({ argv, timeoutMs: 5_000 })).rejects.toThrow(CommandError);
  await bounded.run({ argv: ["/bin/true"], timeoutMs: 5_000 });
});

test("merged outputs keep the order in which they were written", async () => {
  const logFile = path.join(folder, "merged.log");
  const script = "i=0; while [ $i -lt 1000 ]; do echo $i; i=$((i + 1)); echo $i >&2; i=$((i + 1)); done";
  const { stdout, stderr } = await runner.run({ argv: sh(script), timeoutMs: 20_000, mergeOutputs: true, logFile });
  expect(stdout).toBe(Array.from({ length: 1000 }, (_, index) => `${index}\n`).join(""));
  expect(stderr).toBe("");
  expect(await readFile(logFile, "utf8")).toBe(stdout);
});

test("merged outputs that nobody reads to their end, or that a daemon holds open, hold nothing up or open", async () => {
  const before = await readdir("/proc/self/fd");
  const missing = runner.run({ argv: ["/missing"], timeoutMs: 5_000, mergeOutputs: true });
  await expect(missing).rejects.toThrow(/there is no such program/);
  const stuck = runner.run({ argv: sh("yes >&2"), timeoutMs: 300, mergeOutputs: true });
  await expect(stuck).rejects.toThrow(/did not end within/);
  const script = "echo started; setsid sleep 30 & echo $! >&2";
  const result = await runner.run({ argv: sh(script), timeoutMs: 20_000, mergeOutputs: true });
  process.kill(Number(result.stdout.split("\n")[1]), "SIGKILL");
  expect(result.durationMs).toBeLessThan(10_000);
  await vi.waitFor(async () => expect((await readdir("/proc/self/fd")).length).toBeLessThanOrEqual(before.length));
});

test("a log file that cannot be opened is a clear error and nothing runs", async () => {
  const ran = path.join(folder, "ran");
  const logFile = path.join(folder, "missing/os.log");
  await expect(runner.run({ argv: ["/usr/bin/touch", ran], timeoutMs: 5_000, logFile })).rejects.toThrow(
    /Log file .* cannot be written/,
  );
  await expect(stat(ran)).rejects.toThrow("ENOENT");
});

test("secret arguments appear neither in logs nor in errors, also when the program prints them", async () => {
  const lines: string[] = [];
  const logger = { debug: (line: object) => lines.push(JSON.stringify(line)) } as unknown as Logger;
  const masked = createCommandRunner({ logger });
  const failing = masked.run({
    argv: sh('echo "wrong password $1" >&2; exit 1', "s3cr3t"),
    timeoutMs: 5_000,
    secretArgs: [4],
  });
  await expect(failing).rejects.toThrow(/'?\*\*\*'? failed with exit code 1: wrong password \*\*\*/);
  expect(lines.join("")).toContain("***");
  expect(lines.join("")).not.toContain("s3cr3t");
});

test("a script of 10 MB of output every second costs no memory while it hangs", async () => {
  const script = path.join(folder, "noisy");
  await writeFile(script, "#!/bin/sh\nwhile :; do head -c 1000000 /dev/zero; done\n", { mode: 0o700 });
  const before = process.memoryUsage().rss;
  await expect(runner.run({ argv: [script], timeoutMs: 1_000 })).rejects.toThrow(/did not end within 1 s/);
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
});
