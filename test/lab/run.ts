/**
 * `make lab`: real LVM, DRBD, KVM and Xen in virtual machines, each with a real agent, and a real master beside them.
 *
 * Everything runs in a network, a process and a mount namespace of its own. When this process ends, however it ends,
 * the kernel ends all of that with it, and no interface, no mount and no process is left.
 */
import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { exitCodeOf, GannetError, OpExecError, OpPrereqError } from "@gannet/errors";
import { type CommandRunner, createCommandRunner, holdFolder } from "@gannet/exec";
import { createLogger } from "@gannet/telemetry";
import { contained } from "./contained.ts";
import { nodeImage } from "./image/build.ts";
import { cloudGuest } from "./image/cloud-guest.ts";
import type { Order } from "./inside.ts";
import { MACHINE_KINDS, type MachineKindName } from "./machine-kind.ts";
import { REPOSITORY } from "./plan.ts";
import type { Outcome } from "./scenario.ts";
import { chosenScenarios, scenariosOf } from "./scenarios/index.ts";
import { type LabSettings, labSettings } from "./settings.ts";

const INSTALL_SYSTEM_PACKAGES = path.join(REPOSITORY, "deploy/one-machine/install-system-packages");
const LAB_PACKAGES = ["mmdebstrap", "xz-utils", "e2fsprogs", "kmod", "nasm", "util-linux"];
const TUN_DEVICE = "/dev/net/tun";
const INSTALL_TIMEOUT_MS = 10 * 60_000;
const INSIDE = path.join(import.meta.dirname, "inside.ts");

async function main(): Promise<number> {
  const startedAt = performance.now();
  const settings = labSettings(process.env);
  const runner = createCommandRunner({ logger: await createLogger({ name: "lab", level: "warn", format: "pretty" }) });
  const { chosen, leftOut } = chosenScenarios(settings);
  if (process.getuid?.() === 0) await installPackages(runner);
  const obstacle = await labObstacle(runner);
  if (obstacle !== undefined) {
    // Who runs all checks of a checkout wants those that the machine can do; who runs the lab wants the lab.
    if (settings.scope !== "ci") throw new OpPrereqError(obstacle, "environment_error");
    for (const name of chosen) console.log(`skipped: ${name}: ${obstacle}`);
    console.log(`0 passed, 0 failed, ${chosen.length} skipped`);
    return 0;
  }
  await mkdir(settings.workDir, { recursive: true, mode: 0o700 });
  const release = await holdFolder(settings.workDir, "lab");
  const outcomes: Outcome[] = [];
  try {
    await rm(settings.logDir, { recursive: true, force: true });
    for (const kind of Object.keys(MACHINE_KINDS) as MachineKindName[])
      if (scenariosOf(kind, settings).length > 0) outcomes.push(await runKind(kind, settings, runner));
  } finally {
    await rm(settings.workDir, { recursive: true, force: true });
    release();
  }
  console.log();
  for (const { reason, names } of leftOut) console.log(`not asked for (${reason}): ${names.join("; ")}`);
  const total = (part: keyof Outcome) => outcomes.reduce((sum, outcome) => sum + outcome[part], 0);
  console.log(`the lab took ${Math.round((performance.now() - startedAt) / 1000)} s`);
  console.log(`${total("passed")} passed, ${total("failed")} failed, 0 skipped`);
  return total("failed") === 0 && total("passed") > 0 ? 0 : 1;
}

/** All scenarios for nodes of one kind, in a fresh lab. @throws OpExecError when the lab itself breaks */
async function runKind(kind: MachineKindName, settings: LabSettings, runner: CommandRunner): Promise<Outcome> {
  const { workDir, cacheDir } = settings;
  // Also what a run that was killed left.
  for (const name of await readdir(workDir)) await rm(path.join(workDir, name), { recursive: true });
  const startedAt = performance.now();
  const tell = (text: string) => console.log(text);
  const image = await nodeImage(MACHINE_KINDS[kind].image, { cacheDir, runner, tell });
  console.log(`the image for nodes of kind ${kind}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  const isCloudGuestNeeded = scenariosOf(kind, settings).some(({ needsCloudGuest }) => needsCloudGuest);
  const cloudGuestDir = isCloudGuestNeeded ? await cloudGuest({ cacheDir, runner, tell }) : undefined;
  const order: Order = { settings, kind, image, cloudGuestDir, outcomeFile: path.join(workDir, "outcome.json") };
  const code = await inNamespaces([INSIDE, JSON.stringify(order)]);
  console.log(`\nnodes of kind ${kind} took ${Math.round((performance.now() - startedAt) / 1000)} s`);
  if (code !== 0) throw new OpExecError(`The lab with nodes of kind ${kind} broke off with exit code ${code}`);
  return JSON.parse(await readFile(order.outcomeFile, "utf8")) as Outcome;
}

/** What keeps this machine from having a lab; undefined when nothing does. */
async function labObstacle(runner: CommandRunner): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "The lab needs root: it makes namespaces, file systems and taps";
  try {
    await access(TUN_DEVICE, constants.R_OK | constants.W_OK);
    await runner.run({ argv: contained(["/bin/true"], { network: "private" }), timeoutMs: 10_000 });
    return undefined;
  } catch (error) {
    return `The lab needs ${TUN_DEVICE} and namespaces of its own, which this machine does not give: ${String(error)}`;
  }
}

async function installPackages(runner: CommandRunner): Promise<void> {
  const { stdout } = await runner.run({
    argv: [INSTALL_SYSTEM_PACKAGES, ...LAB_PACKAGES],
    timeoutMs: INSTALL_TIMEOUT_MS,
  });
  process.stdout.write(stdout);
}

/** @returns the exit code; 130 when a signal ended it */
async function inNamespaces(script: readonly string[]): Promise<number> {
  const [program, ...args] = contained([process.execPath, ...script], { network: "private" });
  const child = spawn(program, args, { stdio: "inherit" });
  const end = () => child.kill("SIGKILL");
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end);
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 130));
  });
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(error instanceof GannetError ? error.message : error);
  return exitCodeOf(error);
});
