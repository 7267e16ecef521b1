import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccelerationProbe, chooseAccelerator, type KvmVerdict } from "../../../src/hypervisors/kvm/acceleration.ts";
import {
  accelerationProgram,
  DEBUG_EXIT_DEVICE,
  PROGRAM_RAN_EXIT_CODE,
} from "../../../src/hypervisors/kvm/acceleration-program.ts";

const WORKS: KvmVerdict = { works: true };
const BROKEN: KvmVerdict = { works: false, reason: "no /dev/kvm" };
const runner = createCommandRunner({ logger: silentLogger() });

describe("the accelerator", () => {
  it.each([
    ["", WORKS, "kvm"],
    ["", BROKEN, "tcg"],
    ["enabled", WORKS, "kvm"],
    ["disabled", WORKS, "tcg"],
    ["disabled", BROKEN, "tcg"],
  ] as const)("for kvm_flag %j and KVM %j is %s", (flag, verdict, expected) => {
    expect(chooseAccelerator(flag, verdict)).toBe(expected);
  });

  it("is refused when KVM is insisted on and does not work", () => {
    expect(() => chooseAccelerator("enabled", BROKEN)).toThrow(/kvm_flag is "enabled".*no \/dev\/kvm/);
  });
});

describe("the test program", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gannet-accel-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("runs to its end on a processor that works, which TCG's is", async () => {
    const image = path.join(folder, "program.bin");
    await writeFile(image, accelerationProgram());
    const machine = ["-machine", "pc", "-accel", "tcg", "-m", "16", "-bios", image, "-nodefaults", "-no-reboot"];
    const { exitCode } = await runner.run({
      argv: ["/usr/bin/kvm", ...machine, "-display", "none", "-device", JSON.stringify(DEBUG_EXIT_DEVICE)],
      timeoutMs: 20_000,
      okExitCodes: [0, PROGRAM_RAN_EXIT_CODE],
    });
    expect(exitCode).toBe(PROGRAM_RAN_EXIT_CODE);
  });

  it("is not run again by a restarted agent while nothing has changed", async () => {
    const imagePath = path.join(folder, "kept.bin");
    const qemu = {
      path: "/usr/bin/kvm",
      version: { major: 7, minor: 2, text: "7.2" },
      machines: new Map(),
      defaultMachine: undefined,
      devices: new Set([DEBUG_EXIT_DEVICE.driver]),
      spice: false,
      runWith: false,
    };
    const runs: string[] = [];
    const counting = {
      run: (command: { readonly argv: readonly string[] }) => {
        runs.push(command.argv[0] ?? "");
        return Promise.reject(new Error("the program hung"));
      },
    };
    const verdictOf = () =>
      new AccelerationProbe({ setting: "auto", runner: counting, logger: silentLogger(), imagePath }).verdict(qemu);
    const first = await verdictOf();
    const asked = runs.length;
    expect(await verdictOf()).toEqual(first);
    expect(runs).toHaveLength(asked);
    await writeFile(`${imagePath}.verdict`, "{half");
    expect(await verdictOf()).toEqual(first);
    expect(runs).toHaveLength(asked * 2);
  });

  it.each(["on", "off"] as const)("is not run when the agent is told %s", async (setting) => {
    const unused = { run: () => Promise.reject(new Error("ran a command")) };
    const parts = { setting, runner: unused, logger: silentLogger(), imagePath: path.join(folder, "unused.bin") };
    const probe = new AccelerationProbe(parts);
    const qemu = {
      path: "/usr/bin/kvm",
      version: { major: 7, minor: 2, text: "7.2" },
      machines: new Map(),
      defaultMachine: undefined,
      devices: new Set<string>(),
      spice: false,
      runWith: false,
    };
    expect((await probe.verdict(qemu)).works).toBe(setting === "on");
  });
});
