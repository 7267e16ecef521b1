import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createCommandRunner, endLeftoverCommands } from "../src/index.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-leftovers-"));
});
afterAll(() => rm(folder, { recursive: true }));

const isRunning = async (pid: number) =>
  readFile(`/proc/${pid}/stat`, "utf8").then(
    (text) => !/\) Z /.test(text),
    () => false,
  );

/** A process of its own that runs a command and is then killed, as an agent may be. */
async function killedDaemon(script: string, options: { readonly outlives?: { logFile: string } } = {}): Promise<void> {
  const index = path.resolve(import.meta.dirname, "../src/index.ts");
  const code = `
    import { createCommandRunner } from ${JSON.stringify(index)};
    const quiet = { debug() {}, warn() {} };
    const runner = createCommandRunner({ logger: quiet, recordFolder: ${JSON.stringify(path.join(folder, "running"))} });
    await runner.run({ argv: ["/bin/sh", "-c", ${JSON.stringify(script)}], timeoutMs: 60000, ...${JSON.stringify(options)} });`;
  const daemon = spawn(process.execPath, ["--input-type=module", "-e", code], { cwd: import.meta.dirname });
  await vi.waitFor(async () => {
    expect(await readFile(path.join(folder, "pids"), "utf8")).toMatch(/\d\n\d+\n/);
    expect(await readdir(path.join(folder, "running"))).toHaveLength(options.outlives === undefined ? 1 : 0);
  }, 10_000);
  daemon.kill("SIGKILL");
  await new Promise((resolve) => daemon.once("exit", resolve));
}

test("what a killed daemon left running is ended at its next start, daemons of their own session are not", async () => {
  await endLeftoverCommands(path.join(folder, "running"), silentLogger());
  const pids = path.join(folder, "pids");
  await killedDaemon(`setsid sleep 60 >/dev/null 2>&1 & echo $! > ${pids}; sleep 61 & echo $! >> ${pids}; wait`);
  const [guest, leftover] = (await readFile(pids, "utf8")).trim().split("\n").map(Number) as [number, number];
  expect(await isRunning(leftover)).toBe(true);

  await endLeftoverCommands(path.join(folder, "running"), silentLogger());

  expect(await isRunning(leftover)).toBe(false);
  expect(await isRunning(guest)).toBe(true);
  process.kill(guest, "SIGKILL");
  expect(await readdir(path.join(folder, "running"))).toEqual([]);
});

test("one that outlives its daemon goes on, and prints", async () => {
  await endLeftoverCommands(path.join(folder, "running"), silentLogger());
  const [pids, logFile] = [path.join(folder, "pids"), path.join(folder, "outliving.log")];
  await rm(pids, { force: true });
  const script = `echo begun; echo $$ > ${pids}; echo 2 >> ${pids}; while ! test -e ${folder}/go; do sleep 0.05; done; echo done >&2`;
  await killedDaemon(script, { outlives: { logFile } });
  const pid = Number.parseInt(await readFile(pids, "utf8"), 10);

  await endLeftoverCommands(path.join(folder, "running"), silentLogger());

  expect(await isRunning(pid)).toBe(true);
  await writeFile(path.join(folder, "go"), "");
  await vi.waitFor(async () => expect(await isRunning(pid)).toBe(false), 10_000);
  expect(await readFile(logFile, "utf8")).toBe("begun\ndone\n");
});

test("what one that outlives its daemon printed is told, of this run alone", async () => {
  const logFile = path.join(folder, "own.log");
  await writeFile(logFile, "before\n");
  const runner = createCommandRunner({ logger: silentLogger() });
  const run = (script: string) =>
    runner.run({ argv: ["/bin/sh", "-c", script], timeoutMs: 5_000, outlives: { logFile } });
  expect(await run("echo one; echo two >&2")).toMatchObject({ stdout: "one\ntwo\n", exitCode: 0 });
  await expect(run("echo broken >&2; exit 3")).rejects.toThrow(/exit code 3: broken$/);
});

test("a record whose process id now belongs to another process harms nobody", async () => {
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  const other = spawn("/bin/sleep", ["60"], { detached: true });
  await writeFile(path.join(folder, "running", `${other.pid}.1.${bootId}`), "/bin/old");
  await writeFile(path.join(folder, "running", "something else"), "");
  await endLeftoverCommands(path.join(folder, "running"), silentLogger());
  expect(await isRunning(Number(other.pid))).toBe(true);
  expect(await readdir(path.join(folder, "running"))).toEqual([]);
  other.kill("SIGKILL");
});

test("a command that ended leaves no record", async () => {
  const recordFolder = path.join(folder, "running");
  const runner = createCommandRunner({ logger: silentLogger(), recordFolder });
  await runner.run({ argv: ["/bin/true"], timeoutMs: 5_000 });
  expect(await readdir(recordFolder)).toEqual([]);
});

test.skipIf(process.getuid?.() !== 0)("on a full disk commands run, and are found again", async () => {
  const disk = path.join(folder, "full");
  await mkdir(disk);
  const mounts = createCommandRunner({ logger: silentLogger() });
  await mounts.run({ argv: ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], timeoutMs: 10_000 });
  try {
    await expect(writeFile(path.join(disk, "big"), Buffer.alloc(1024 * 1024))).rejects.toThrow("ENOSPC");
    const runner = createCommandRunner({ logger: silentLogger(), recordFolder: disk, killGraceMs: 100 });
    const sleeping = runner.run({ argv: ["/bin/sleep", "60"], timeoutMs: 60_000 });
    const outcome = expect(sleeping).rejects.toThrow(/killed by SIGTERM/);
    const recorded = () => readdir(disk).then((names) => names.find((name) => name !== "big") ?? "");
    await vi.waitFor(async () => expect(await recorded()).toMatch(/^\d+\.\d+\./));
    await endLeftoverCommands(disk, silentLogger());
    await outcome;
  } finally {
    await mounts.run({ argv: ["/bin/umount", "-l", disk], timeoutMs: 10_000 });
  }
});

test("a command that cannot be recorded is killed", async () => {
  const runner = createCommandRunner({ logger: silentLogger(), recordFolder: path.join(folder, "missing") });
  const argv = ["/bin/sleep", "61.734"] as const;
  await expect(runner.run({ argv: [...argv], timeoutMs: 5_000 })).rejects.toThrow(/cannot be recorded: .*ENOENT/);
  const commands = await Promise.all(
    (await readdir("/proc")).map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  expect(commands).not.toContain(`${argv.join("\0")}\0`);
});
