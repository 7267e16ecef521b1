/** The systemd units: what systemd itself finds in them, and how far each service is shut in. */
import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const UNITS = path.resolve(import.meta.dirname, "../../deploy/systemd");
const ANALYZE = "/usr/bin/systemd-analyze";
/** From 0 to 10; what is measured today, rounded up. A unit that opens more must say why. */
const MOST_EXPOSED: Readonly<Record<string, number>> = {
  "gannet-master.service": 1.6,
  "gannet-node.service": 8.8,
  "gannet-redis.service": 1.3,
  "gannet-sentinel.service": 1.3,
};
const SERVICES = Object.keys(MOST_EXPOSED);

const runner = createCommandRunner({ logger: silentLogger() });
let root: string;

function analyze(...args: readonly string[]) {
  return runner.run({ argv: [ANALYZE, "--no-pager", ...args], timeoutMs: 60_000, okExitCodes: [0, 1] });
}

/** A root with Debian's units, ours, and a program wherever a unit names one. */
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gannet-units-"));
  const units = path.join(root, "lib/systemd/system");
  await cp("/lib/systemd/system", units, { recursive: true, verbatimSymlinks: true });
  for (const name of await readdir(UNITS)) {
    if (!/\.(service|slice)$/.test(name)) continue;
    await copyFile(path.join(UNITS, name), path.join(units, name));
    const programs = (await readFile(path.join(UNITS, name), "utf8")).matchAll(
      /^Exec\w+=(\S+)(?: (\/usr\/lib\S+\/node))?/gm,
    );
    for (const program of [...programs].flatMap(([, ...found]) => found.filter((file) => file !== undefined))) {
      await mkdir(path.join(root, path.dirname(program)), { recursive: true });
      await writeFile(path.join(root, program), "#!/bin/sh\n");
      await chmod(path.join(root, program), 0o755);
    }
  }
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

test("systemd has nothing to say against a unit", async () => {
  const verdict = await analyze(
    "verify",
    "--recursive-errors=yes",
    "--man=no",
    `--root=${root}`,
    ...SERVICES,
    "gannet-guests.slice",
  );
  expect(verdict).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
});

test("a unit that is wrong is found out", async () => {
  const unit = path.join(root, "lib/systemd/system/gannet-wrong.service");
  await writeFile(unit, "[Service]\nExecStart=/no/such/program\nProtectSistem=strict\n");
  const { exitCode, stderr } = await analyze("verify", `--root=${root}`, "gannet-wrong.service");
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/no\/such\/program/);
  expect(stderr).toMatch(/ProtectSistem/);
});

describe("what a service could do if it were taken over", () => {
  test.each(SERVICES)("%s", async (service) => {
    const { stdout } = await analyze("security", "--offline=yes", `--root=${root}`, service);
    const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(stdout) ?? [];
    console.log(`${service}: exposure ${exposure} of 10, at most ${MOST_EXPOSED[service]}`);
    expect(Number(exposure)).toBeGreaterThan(0);
    expect(Number(exposure)).toBeLessThanOrEqual(MOST_EXPOSED[service] ?? 0);
  });
});

describe("what keeps guests alive", () => {
  test("stopping the agent signals the agent alone, and nothing gives it a file system of its own", async () => {
    const unit = await readFile(path.join(UNITS, "gannet-node.service"), "utf8");
    expect(unit).toMatch(/^KillMode=process$/m);
    // Any of these makes a mount namespace, in which guests' mounts would end with the agent.
    expect(unit).not.toMatch(
      /^(ProtectSystem|ProtectHome|PrivateTmp|PrivateDevices|PrivateMounts|ProtectKernel\w+|ProtectControlGroups|ProtectProc|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|BindPaths|RootDirectory|TemporaryFileSystem)=/m,
    );
    // A process that lost its privileges on the way could never give them to what it installs.
    expect(unit).not.toMatch(/^NoNewPrivileges=yes/m);
  });
});
