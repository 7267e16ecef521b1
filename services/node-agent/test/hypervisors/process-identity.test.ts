import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import {
  identifyProcess,
  parseProcessStat,
  processLives,
  processTimes,
  signalProcess,
} from "../../src/hypervisors/process-identity.ts";

describe("parseProcessStat", () => {
  it("is not confused by the name of a program", () => {
    const numbers = Array.from({ length: 49 }, (_, index) => index + 4).join(" ");
    expect(parseProcessStat(`7 (kvm) S 1 (x) S ${numbers}`)).toEqual({ state: "S", startTicks: 22, cpuTicks: 14 + 15 });
  });

  it("answers nothing for a line cut short", () => {
    expect(parseProcessStat("7 (kvm) S 1 2 3")).toBeUndefined();
  });
});

describe("a process's identity", () => {
  it("is that of the running process and tells its times", async () => {
    const identity = await identifyProcess(process.pid);
    expect(identity).toBeDefined();
    if (identity === undefined) return;
    expect(await processLives(identity)).toBe(true);
    const times = await processTimes(identity);
    expect(Math.abs((times?.uptimeSeconds ?? 0) - process.uptime())).toBeLessThan(2);
    expect(times?.cpuSeconds).toBeGreaterThan(0);
  });

  it("is never another process that got the same pid, nor one of another boot", async () => {
    const identity = await identifyProcess(process.pid);
    expect(identity).toBeDefined();
    if (identity === undefined) return;
    for (const other of [
      { ...identity, startTicks: identity.startTicks + 1 },
      { ...identity, bootId: "00000000-0000-0000-0000-000000000000" },
    ]) {
      expect(await processLives(other)).toBe(false);
      expect(await processTimes(other)).toBeUndefined();
      // Sent to the pid itself, this would end the test.
      expect(await signalProcess(other, "SIGKILL")).toBe(false);
    }
  });

  it("is nothing for a pid without a process", async () => {
    const highest = Number(await readFile("/proc/sys/kernel/pid_max", "utf8"));
    expect(await identifyProcess(highest + 1)).toBeUndefined();
  });
});
