import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  parseDevices,
  parseMachines,
  parseOptions,
  parseVersion,
  QemuBinaries,
} from "../../../src/hypervisors/kvm/qemu-binary.ts";

describe("what its options tell", () => {
  const SPICE = "-spice [port=port][,tls-port=secured-port]\n                enable spice\n";
  it.each([
    ["7.2", `${SPICE}-runas user     change to user id user\n-chroot dir     chroot to dir\n`, true, false],
    ["8.1", "-run-with async-teardown=on|off\n                misc options\n-runas user     change\n", false, false],
    [
      "9.0",
      "-run-with [async-teardown=on|off][,chroot=dir]\n          [,user=username|uid:gid]\n                Set misc\n",
      false,
      true,
    ],
    ["another with chroot and user elsewhere", "-run-with x=y\n-chroot chroot=dir,user=x\n", false, false],
  ])("of qemu %s", (_, help, spice, runWith) => expect(parseOptions(help)).toEqual({ spice, runWith }));
});

describe("what qemu says of itself", () => {
  it.each([
    ["QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright …", 7, 2, "7.2.22"],
    ["QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", 10, 0, "10.0.2"],
    ["QEMU emulator version 9.2", 9, 2, "9.2"],
  ])("%j", (output, major, minor, text) => {
    expect(parseVersion(output, "/usr/bin/kvm")).toEqual({ major, minor, text });
  });

  it("is refused when it is too old or no qemu at all", () => {
    expect(() => parseVersion("QEMU emulator version 6.2.0", "/usr/bin/kvm")).toThrow(/qemu 6\.2\.0; 7\.2 or newer/);
    expect(() => parseVersion("bash 5.2", "/bin/bash")).toThrow(/kvm_path: \/bin\/bash does not tell/);
  });

  it("names machines, their aliases and the default", () => {
    const output = [
      "Supported machines are:",
      "microvm              microvm (i386)",
      "pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)",
      "pc-i440fx-7.2        Standard PC (i440FX + PIIX, 1996) (default)",
      "pc-i440fx-1.7        Standard PC (i440FX + PIIX, 1996) (deprecated)",
      "q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-7.2)",
      "",
    ].join("\n");
    const { machines, defaultMachine } = parseMachines(output);
    expect(Object.fromEntries(machines)).toEqual({
      microvm: "microvm",
      pc: "pc-i440fx-7.2",
      "pc-i440fx-7.2": "pc-i440fx-7.2",
      "pc-i440fx-1.7": "pc-i440fx-1.7",
      q35: "pc-q35-7.2",
    });
    expect(defaultMachine).toBe("pc-i440fx-7.2");
    expect(
      parseMachines("Supported machines are:\nvirt-9.2   QEMU 9.2 ARM Virtual Machine\n").defaultMachine,
    ).toBeUndefined();
  });

  it("names devices", () => {
    const output =
      'Controller devices:\nname "lsi53c895a", bus PCI, alias "lsi"\nname "ide-hd", bus IDE, desc "disk"\n';
    expect([...parseDevices(output)]).toEqual(["lsi53c895a", "ide-hd"]);
  });
});

describe("a qemu program", () => {
  const runner = createCommandRunner({ logger: silentLogger() });
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gannet-qemu-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function install(version: string): Promise<string> {
    const program = path.join(folder, "kvm");
    await writeFile(program, `#!/bin/sh\necho "$@" >> ${folder}/calls\necho "QEMU emulator version ${version}"\n`);
    await chmod(program, 0o755);
    return program;
  }

  it("is asked once, and again when it was replaced", async () => {
    const binaries = new QemuBinaries(runner);
    const program = await install("7.2.1");
    const [first, second] = await Promise.all([binaries.facts(program), binaries.facts(program)]);
    expect(second).toBe(first);
    await install("8.1.22");
    expect((await binaries.facts(program)).version.text).toBe("8.1.22");
  });

  it.each([
    ["is not there", "nothing"],
    ["is a folder", "."],
    ["may not be executed", "calls"],
  ])("that %s is refused by the name of its parameter", async (_, name) => {
    await writeFile(path.join(folder, "calls"), "");
    await expect(new QemuBinaries(runner).facts(path.join(folder, name))).rejects.toThrow(
      /^kvm_path: there is no program/,
    );
  });
});
