import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CommandError } from "@gannet/errors";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createCommandRunner, type PipelineStage } from "../src/index.ts";

let folder: string;
let records: string;
let runner: ReturnType<typeof createCommandRunner>;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-pipeline-"));
  records = path.join(folder, "records");
  await mkdir(records);
  runner = createCommandRunner({ logger: silentLogger(), killGraceMs: 200, recordFolder: records });
});
afterAll(() => rm(folder, { recursive: true }));

const inFolder = (name: string) => path.join(folder, name);
const sh = (script: string): PipelineStage => ({ argv: ["/bin/sh", "-c", script] });
const cat: PipelineStage = { argv: ["/bin/cat"] };
const { signal } = new AbortController();

/** Run with a file's contents as input; answers what the last stage wrote. */
async function through(stages: readonly PipelineStage[], input: string | Buffer = ""): Promise<Buffer> {
  await writeFile(inFolder("input"), input);
  await using from = await open(inFolder("input"));
  await using to = await open(inFolder("output"), "w");
  await runner.runPipeline({ stages, input: from.fd, output: to.fd, timeoutMs: 20_000, signal });
  return readFile(inFolder("output"));
}
const isRunning = async (pid: number) =>
  readFile(`/proc/${pid}/stat`, "utf8").then(
    (text) => !/\) Z /.test(text),
    () => false,
  );

test("what one stage prints is what the next reads, byte for byte, and each sees the end", async () => {
  const contents = Buffer.from(Array.from({ length: 3_000_001 }, (_, index) => (index * 31) & 0xff));
  const out = await through([cat, { argv: ["/bin/gzip", "-1", "-c"] }, { argv: ["/bin/gzip", "-d", "-c"] }], contents);
  expect(out.equals(contents)).toBe(true);
  expect(await readdir(records)).toEqual([]);
});

test("one stage alone, without files, is a command", async () => {
  await runner.runPipeline({ stages: [sh("cat; echo dropped")], timeoutMs: 5_000, signal });
});

test("the pipes are pipes, which a program can open by name", async () => {
  expect((await through([sh("echo hello > /dev/stdout"), cat])).toString()).toBe("hello\n");
});

test("a lead goes first, and a preface takes it off again", async () => {
  const seen: string[] = [];
  const out = await through(
    [
      { ...cat, lead: "M=magic" },
      {
        ...cat,
        preface: { argv: ["/bin/dd", "bs=7", "count=1", "iflag=fullblock"], accept: (text) => seen.push(text) },
      },
    ],
    "contents",
  );
  expect(seen).toEqual(["M=magic"]);
  expect(out.toString()).toBe("contents");
});

test("a preface that is not accepted ends the pipeline with that error, and its stage never runs", async () => {
  const refusal = new Error("wrong magic");
  const preface = {
    argv: ["/bin/dd", "bs=3", "count=1"] as const,
    accept: () => {
      throw refusal;
    },
  };
  const stages = [
    sh("yes"),
    { ...sh(`touch ${inFolder("ran")}`), preface: { ...preface, argv: [...preface.argv] as never } },
  ];
  await expect(runner.runPipeline({ stages, timeoutMs: 20_000, signal })).rejects.toBe(refusal);
  expect(await readdir(folder)).not.toContain("ran");
});

test("lines of standard error, pids and an extra descriptor", async () => {
  const lines: string[] = [];
  const pids: number[] = [];
  await using extra = await open(inFolder("extra"), "w+");
  await through([
    {
      ...sh("echo one >&2; printf 'two\\rthree' >&2; echo 4711 > /dev/fd/3"),
      extraDescriptor: extra.fd,
      onLine: (line) => lines.push(line),
      onStart: (pid) => pids.push(pid),
    },
  ]);
  expect(lines).toEqual(["one", "two", "three"]);
  expect(pids).toEqual([expect.any(Number)]);
  expect(await readFile(inFolder("extra"), "utf8")).toBe("4711\n");
});

test("a character of standard error that comes in two parts is one, and half of one is none", async () => {
  const lines: string[] = [];
  const script =
    "printf 'caf\\303' >&2; sleep 0.2; printf '\\251\\n\\360\\237' >&2; sleep 0.2; printf '\\220\\237 \\303' >&2";
  await through([{ ...sh(script), onLine: (line) => lines.push(line) }]);
  expect(lines).toEqual(["café", "🐟 \ufffd"]);
});

test("the environment is clean and the folder is the stage's", async () => {
  process.env.GANNET_TEST_LEAK = "1";
  const out = await through([{ argv: ["/usr/bin/env"], env: { OSP_X: "1" } }]);
  expect(out.toString().trim().split("\n").sort()).toEqual([
    "LC_ALL=C",
    "OSP_X=1",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  ]);
  expect((await through([{ argv: ["/bin/pwd"], cwd: "/usr" }])).toString()).toBe("/usr\n");
});

test.each([
  ["the first", [sh("echo broken >&2; exit 3"), cat, cat], /sh -c .* failed with exit code 3: broken$/],
  ["one in the middle", [sh("exec yes"), sh("echo full >&2; exit 1"), cat], /failed with exit code 1: full$/],
  ["the last", [sh("exec yes"), cat, sh("head -c 100 >/dev/null; echo full >&2; exit 1")], /exit code 1: full$/],
  ["one that dies", [sh("exec yes"), sh("kill -SEGV $$")], /was killed by SIGSEGV$/],
  [
    "one that does not exist",
    [sh("exec yes"), { argv: ["/no/such/gzip"] }, cat],
    /no\/such\/gzip could not be started, there is no such program$/,
  ],
  ["one whose arguments are too long", [sh("exec yes"), { argv: ["/bin/true", "x".repeat(3_000_000)] }], /too long$/],
  ["a reader that leaves", [sh("exec yes"), sh("exit 0")], /yes' was killed by SIGPIPE$/],
] as const)("a failure of %s is the pipeline's, and the rest is ended", async (_which, stages, message) => {
  const pids: number[] = [];
  const watched = stages.map((stage) => ({ ...(stage as PipelineStage), onStart: (pid: number) => pids.push(pid) }));
  const failing = runner.runPipeline({ stages: watched, timeoutMs: 20_000, signal });
  await expect(failing).rejects.toThrow(CommandError);
  await expect(failing).rejects.toThrow(message);
  for (const pid of pids) expect(await isRunning(pid)).toBe(false);
  expect(await readdir(records)).toEqual([]);
});

test.each([
  [["cat"], /path is not absolute/],
  [["/bin/cat", "a\0b"], /NUL/],
] as const)("%j is refused before anything runs", async (argv, message) => {
  const stages = [sh(`touch ${inFolder("ran")}`), { argv: argv as never }];
  await expect(runner.runPipeline({ stages, timeoutMs: 5_000, signal })).rejects.toThrow(message);
  expect(await readdir(folder)).not.toContain("ran");
});

test.each(["an abort", "a timeout"])("%s ends every stage and its children", async (how) => {
  const abort = new AbortController();
  const pids: number[] = [];
  const stubborn = `sh -c 'trap "" TERM; while :; do sleep 1; done' & echo $! >&2; wait`;
  const stage = {
    ...sh(stubborn),
    onLine: (line: string) => pids.push(Number(line)),
    onStart: (pid: number) => pids.push(pid),
  };
  const failing = runner.runPipeline({
    stages: [stage, stage, stage],
    timeoutMs: how === "a timeout" ? 1_500 : 60_000,
    signal: abort.signal,
  });
  const told = expect(failing).rejects.toThrow(
    how === "a timeout" ? /did not end within 1.5 s/ : /operation was aborted/,
  );
  await vi.waitFor(() => expect(pids).toHaveLength(6), 10_000);
  if (how === "an abort") abort.abort();
  await told;
  for (const pid of pids) expect(await isRunning(pid)).toBe(false);
});

test("a pipeline whose operation is aborted already starts nothing", async () => {
  const stages = [sh(`touch ${inFolder("ran")}`), cat];
  await expect(runner.runPipeline({ stages, timeoutMs: 5_000, signal: AbortSignal.abort() })).rejects.toThrow(
    /aborted/,
  );
  expect(await readdir(folder)).not.toContain("ran");
});

test("no descriptor is left open", async () => {
  const count = async () => (await readdir("/proc/self/fd")).length;
  await through([cat, cat]);
  const before = await count();
  for (let round = 0; round < 3; round += 1) {
    await through([cat, cat, cat], "x");
    await through([cat, sh("exit 1"), cat], "x").catch(() => {});
  }
  expect(await count()).toBeLessThanOrEqual(before);
});
