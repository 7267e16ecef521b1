/** How a process is ended that may be slow, or miss the first signal. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, it } from "vitest";
import { endProcess } from "../../../src/hypervisors/kvm/qemu-process.ts";
import { identifyProcess, type ProcessIdentity } from "../../../src/hypervisors/process-identity.ts";

let child: ChildProcess | undefined;
afterEach(() => void child?.kill("SIGKILL"));

/** A shell that does this, and tells when it is ready. */
async function shell(
  script: string,
): Promise<{ readonly identity: ProcessIdentity; readonly end: Promise<unknown[]> }> {
  const started = spawn("/bin/sh", ["-c", `${script}; echo ready; while :; do sleep 0.05; done`]);
  child = started;
  await once(started.stdout, "data");
  const identity = await identifyProcess(started.pid ?? 0);
  if (identity === undefined) throw new Error("it has ended already");
  return { identity, end: once(started, "exit") };
}

it("is noticed at once", async () => {
  const { identity, end } = await shell("true");
  const startedAt = performance.now();
  await endProcess(identity, 30_000);
  expect(performance.now() - startedAt).toBeLessThan(15_000);
  expect(await end).toEqual([null, "SIGTERM"]);
});

it("is asked again when it has missed the first signal", async () => {
  const { identity, end } = await shell("trap 'trap - TERM' TERM");
  await endProcess(identity, 30_000);
  expect(await end).toEqual([null, "SIGTERM"]);
});

it("is killed when the time is over", async () => {
  const { identity, end } = await shell("trap '' TERM");
  const startedAt = performance.now();
  await endProcess(identity, 1_500);
  expect(performance.now() - startedAt).toBeGreaterThan(1_490);
  expect(await end).toEqual([null, "SIGKILL"]);
});
