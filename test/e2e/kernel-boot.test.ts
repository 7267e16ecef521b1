/** Debian's own kernel boots in an instance: what the guest sees, its console, and its power button. */
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { buildInitramfs, findStockKernel } from "@gannet/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { processesOf } from "./cluster-processes.ts";
import { SCRIPT, Terminal } from "./terminal.ts";

const NAME = "boot1.gannet.test";
const GREETING = "a guest of Gannet greets";
const MEMORY_MIB = 256;
const DISK_MIB = 8;
const SECTORS_PER_MIB = 2048;
const SHUTDOWN_TIMEOUT_SECONDS = 60;

const kernel = await findStockKernel();
const missing =
  "missing" in kernel
    ? kernel.missing
    : ["/usr/bin/qemu-system-x86_64", "/usr/bin/socat", SCRIPT]
        .filter((program) => !existsSync(program))
        .map((program) => `there is no ${program}`)[0];
if (missing !== undefined) console.log(`skipped: no real kernel is booted, ${missing}`);

interface Console {
  readonly instance: string;
  readonly kind: string;
  readonly host: string;
  readonly user: string;
  readonly command: readonly string[];
}

describe.skipIf(missing !== undefined)("an instance with Debian's kernel", { timeout: 120_000 }, () => {
  let folder: string;
  let cluster: OneMachineCluster;
  let terminal: Terminal;
  let bootedRelease: string;

  beforeAll(async () => {
    if ("missing" in kernel) return;
    bootedRelease = path.basename(kernel.path).replace("vmlinuz-", "");
    folder = await mkdtemp(path.join(tmpdir(), "gannet-boot-"));
    const runner = createCommandRunner({ logger: silentLogger() });
    const initrd = await buildInitramfs({ runner, folder, greeting: GREETING, modules: kernel.modules });
    cluster = await OneMachineCluster.start({ nodes: 1, hypervisors: "kvm,fake" });
    await cluster.succeed("POST", "/2/instances", {
      __version__: 1,
      mode: "create",
      instance_name: NAME,
      disk_template: "file",
      disks: [{ size: DISK_MIB }],
      nics: [{}],
      os_type: "noop",
      pnode: "node1.gannet.test",
      hypervisor: "kvm",
      beparams: { memory: MEMORY_MIB, vcpus: 1 },
      hvparams: {
        kernel_path: kernel.path,
        initrd_path: initrd,
        root_path: "/dev/ram0",
        kernel_args: "quiet",
        serial_console: true,
        kvm_flag: "disabled",
      },
    });
    const { status, body } = await cluster.rapi("GET", `/2/instances/${NAME}/console`);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { instance: NAME, kind: "ssh", host: "node1.gannet.test", user: "root" },
    });
    terminal = new Terminal((body as Console).command);
  }, 120_000);

  afterAll(async () => {
    await terminal?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  /** What the guest's shell prints for an expression. What is typed is shown too, but not expanded. */
  async function ask(name: string, expression: string): Promise<string> {
    terminal.type(`run echo "${name}=<${expression}>"\n`);
    const [, answer = ""] = await terminal.shows(new RegExp(`^${name}=<([^>]*)>`, "m"));
    return answer;
  }

  test("its console shows the greeting", async () => {
    await terminal.shows(new RegExp(GREETING));
  });

  test("its console takes commands, and the guest sees what the instance was given", async () => {
    expect(await ask("release", "$(busybox uname -r)")).toBe(bootedRelease);
    expect(await ask("sectors", "$(cat /sys/class/block/vda/size)")).toBe(String(DISK_MIB * SECTORS_PER_MIB));
    expect(await ask("interfaces", "$(cd /sys/class/net; echo *)")).toBe("eth0 lo");
    expect(await ask("processors", "$(busybox nproc)")).toBe("1");
    const memoryKib = Number(await ask("memory", "$(busybox awk '/^MemTotal/ { print $2 }' /proc/meminfo)"));
    expect(memoryKib).toBeLessThanOrEqual(MEMORY_MIB * 1024);
    // The kernel keeps some for itself before it counts.
    expect(memoryKib).toBeGreaterThan(MEMORY_MIB * 1024 * 0.75);

    const { body } = await cluster.rapi("GET", `/2/instances/${NAME}`);
    const instance = body as { readonly "nic.macs": readonly string[] };
    expect(instance).toMatchObject({
      status: "running",
      oper_ram: MEMORY_MIB,
      oper_vcpus: 1,
      "disk.sizes": [DISK_MIB],
    });
    expect([await ask("mac", "$(cat /sys/class/net/eth0/address)")]).toEqual(instance["nic.macs"]);
  });

  test("its disk keeps what it writes", async () => {
    expect(await ask("written", "$(echo kept | busybox dd of=/dev/vda conv=sync,fsync 2>/dev/null && echo yes)")).toBe(
      "yes",
    );
    expect(await ask("read", "$(busybox head -n 1 /dev/vda)")).toBe("kept");
  });

  test("a shutdown presses its power button, and it powers off by itself", async () => {
    const began = performance.now();
    await cluster.succeed("PUT", `/2/instances/${NAME}/shutdown`, { timeout: SHUTDOWN_TIMEOUT_SECONDS });
    expect(performance.now() - began).toBeLessThan((SHUTDOWN_TIMEOUT_SECONDS * 1000) / 2);
    // Its kernel's last words: a killed guest has none.
    await terminal.shows(/reboot: Power down/);
    await terminal.ended();
    const { body } = await cluster.rapi("GET", `/2/instances/${NAME}`);
    expect(body).toMatchObject({ status: "ADMIN_down", oper_state: false, admin_state: "down" });
    expect((await cluster.rapi("GET", `/2/instances/${NAME}/console`)).status).toBe(503);
  });

  test("its disk is the same after a start", async () => {
    await cluster.succeed("PUT", `/2/instances/${NAME}/startup`);
    const { body } = await cluster.rapi("GET", `/2/instances/${NAME}/console`);
    terminal = new Terminal((body as Console).command);
    await terminal.shows(new RegExp(GREETING));
    expect(await ask("read", "$(busybox head -n 1 /dev/vda)")).toBe("kept");
  });

  test("after its delete nothing of it is left", async () => {
    const { body } = await cluster.rapi("GET", `/2/instances/${NAME}`);
    const { uuid } = body as { readonly uuid: string };
    // The logs of OS scripts stay, as Ganeti's do.
    const named = () =>
      readdirSync(cluster.stateDir, { recursive: true, encoding: "utf8" })
        .filter((file) => !file.includes("/os-logs/"))
        .filter((file) => [NAME, uuid].some((part) => file.includes(part)));
    const guests = () => processesOf(cluster.stateDir).filter(({ command }) => command.includes("qemu-system"));
    expect(guests()).toHaveLength(1);
    expect(named()).not.toEqual([]);

    await cluster.succeed("DELETE", `/2/instances/${NAME}`, { shutdown_timeout: 0 });
    await terminal.ended();
    expect((await cluster.rapi("GET", "/2/instances")).body).toEqual([]);
    expect(guests()).toEqual([]);
    expect(named()).toEqual([]);
  });
});
