/** One node of the lab: a virtual machine under qemu's own emulation, which every machine has. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { open, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CommandRunner } from "@gannet/exec";
import { type CommandAnswer, CommandChannel } from "./command-channel.ts";
import type { NodeImage } from "./image/build.ts";
import { IMAGE_RECIPES, type ImageRecipe } from "./image/recipe.ts";
import type { MachineKind } from "./machine-kind.ts";
import { LAB_NETWORK, type LabNode, REPOSITORY } from "./plan.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";
const QEMU_IMG = "/usr/bin/qemu-img";
/** Commands take some of the sample's time, on a busy host more of it. */
const CLOCK_SAMPLE_MS = 1_000;
const SLOWEST_CLOCK = 0.6;
const FASTEST_CLOCK = 1.7;
const MOST_BOOTS = 4;
const BOOT_TIMEOUT_MS = 180_000;
/** However busy it is. */
const ANSWER_TIMEOUT_MS = 30_000;
const ROOT = "root.qcow2";
/**
 * Without what hardens Linux at the cost of an emulated processor. Emulation translates a program anew wherever it is
 * loaded: with programs at the same place each time a node starts one in 6 ms instead of 25 ms, and has `pvs` done in
 * 100 ms instead of 200 ms.
 */
const KERNEL_ARGUMENTS = [
  ...["quiet", "panic=-1", "net.ifnames=0", "nowatchdog"],
  ...["mitigations=off", "nokaslr", "norandmaps", "randomize_kstack_offset=off"],
  ...["init_on_alloc=0", "hardened_usercopy=off"],
];

export interface NodeMachineOptions {
  readonly node: LabNode;
  readonly image: NodeImage;
  /** As `writeInitramfs` makes it. */
  readonly initramfs: string;
  readonly runner: CommandRunner;
  readonly kind: MachineKind;
}

export class NodeMachine {
  readonly node: LabNode;
  readonly kind: MachineKind;
  readonly #options: NodeMachineOptions;
  #process: ChildProcess | undefined;
  #channel: CommandChannel | undefined;

  constructor(options: NodeMachineOptions) {
    this.node = options.node;
    this.kind = options.kind;
    this.#options = options;
  }

  /** Its disks, empty. */
  async makeDisks(): Promise<void> {
    const { image, runner } = this.#options;
    if (this.#init === "systemd") {
      const overlay = ["-q", "-f", "qcow2", "-F", "raw", "-b", image.root, this.#rootOverlay];
      await runner.run({ argv: [QEMU_IMG, "create", ...overlay], timeoutMs: 60_000 });
    }
    for (const { name, sizeMib, fileSystem } of this.kind.disks) {
      const file = await open(this.#disk(name), "w", 0o600);
      await file.truncate(sizeMib * 1024 * 1024);
      await file.close();
      if (fileSystem)
        await runner.run({
          argv: ["/usr/sbin/mkfs.ext4", "-q", "-m", "0", this.#disk(name)],
          timeoutMs: 60_000,
        });
    }
  }

  /**
   * Switch it on, and wait until it takes commands. One whose clock is wrong is booted again: a kernel finds its
   * processor's frequency in 10 ms, and is several times off when the host let it wait meanwhile. Then a second of the
   * host is ten of the node's, or a tenth: DRBD gives its peer up, or the node seems to stand still. One that does not
   * come up is booted once more: of some hundred emulated kernels one could not mount /sys.
   * @throws Error with the end of its console
   */
  async powerOn(): Promise<void> {
    for (let boots = 1; ; boots += 1) {
      const problem = await this.#bootProblem();
      if (problem === undefined) return;
      await this.powerOff();
      const text = `${this.node.name}: ${problem.text}`;
      if (boots >= problem.mostBoots) throw new Error(`${text}, also in boot ${boots}`);
      process.stdout.write(`${text}; booting it again\n`);
    }
  }

  async #bootProblem(): Promise<{ readonly text: string; readonly mostBoots: number } | undefined> {
    try {
      await this.#boot();
    } catch (error) {
      return { text: String(error), mostBoots: 2 };
    }
    const rate = await this.#clockRate();
    if (rate > SLOWEST_CLOCK && rate < FASTEST_CLOCK) return undefined;
    return { text: `its clock runs ${rate.toFixed(2)} times as fast as the host's`, mostBoots: MOST_BOOTS };
  }

  /** Seconds of its clock in one of the host's. */
  async #clockRate(): Promise<number> {
    const uptime = async () => ({ node: Number((await this.run("cut -d' ' -f1 /proc/uptime")).trim()), host: now() });
    const now = () => performance.now() / 1000;
    const first = await uptime();
    await delay(CLOCK_SAMPLE_MS);
    const second = await uptime();
    return (second.node - first.node) / (second.host - first.host);
  }

  async #boot(): Promise<void> {
    // That of the run before its power was cut.
    await rm(this.#socket, { force: true });
    const child = spawn(QEMU, this.#arguments(), { stdio: ["ignore", "ignore", "pipe"] });
    let complaint = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      complaint = (complaint + chunk.toString()).slice(-2000);
    });
    this.#process = child;
    const deadline = performance.now() + BOOT_TIMEOUT_MS;
    while (!existsSync(this.#socket) && child.exitCode === null) await delay(20);
    try {
      if (child.exitCode !== null) throw new Error("qemu ended");
      this.#channel = await CommandChannel.open(this.#socket, deadline - performance.now());
    } catch (error) {
      await this.powerOff();
      const end = (await readFile(this.consoleLog, "utf8").catch(() => "")).slice(-3000);
      throw new Error(`it did not come up: ${String(error)}\n${complaint}\n${end}`);
    }
  }

  /** As if its plug were pulled: what its disks do not hold yet is lost. */
  async powerOff(): Promise<void> {
    const child = this.#process;
    if (child === undefined || !this.isOn) return;
    this.#channel?.close();
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  get isOn(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Whether it is on and takes commands. */
  async answers(): Promise<boolean> {
    const answer = await this.command("true", ANSWER_TIMEOUT_MS).catch(() => undefined);
    return answer?.exitCode === 0;
  }

  /** Run a script in it as root, whatever its exit code. */
  async command(script: string, timeoutMs = 120_000): Promise<CommandAnswer> {
    if (this.#channel === undefined) throw new Error(`${this.node.name} is switched off`);
    return await this.#channel.run(script, timeoutMs);
  }

  /** @returns what it printed. @throws Error when it failed */
  async run(script: string, timeoutMs?: number): Promise<string> {
    const { exitCode, output } = await this.command(script, timeoutMs);
    if (exitCode === 0) return output;
    throw new Error(`${this.node.name}: ${script}: exit code ${exitCode}: ${output.slice(-2000)}`);
  }

  get consoleLog(): string {
    return path.join(this.node.dir, "console.log");
  }

  /** Processor seconds used so far, and the most memory it had. */
  async cost(): Promise<{ readonly cpuSeconds: number; readonly peakMib: number }> {
    const pid = this.#process?.pid ?? 0;
    const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]?.split(" ") ?? [];
    const peak = /VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
    return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100, peakMib: Math.round(Number(peak) / 1024) };
  }

  get #socket(): string {
    return path.join(this.node.dir, "commands.sock");
  }

  get #init(): ImageRecipe["init"] {
    return IMAGE_RECIPES[this.kind.image].init;
  }

  /** Over the image's root, what a node with systemd has written there. */
  get #rootOverlay(): string {
    return path.join(this.node.dir, ROOT);
  }

  #disk(name: string): string {
    return path.join(this.node.dir, `${name}.raw`);
  }

  #arguments(): readonly string[] {
    const { node, image, initramfs, kind } = this.#options;
    const kernelArguments = [
      ...KERNEL_ARGUMENTS,
      `lab.init=${this.#init}`,
      `lab.name=${node.id}`,
      `lab.address=${node.ip}/${LAB_NETWORK.prefix}`,
      `lab.repository=${REPOSITORY}`,
    ];
    return [
      ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", node.id],
      ...["-machine", "q35", "-accel", "tcg,thread=multi,tb-size=192", "-cpu", kind.cpu],
      ...["-m", String(kind.memoryMib), "-serial", `file:${this.consoleLog}`],
      ...kind.boot({ ...image, initramfs }, kernelArguments.join(" ")),
      ...(this.#init === "lab"
        ? ["-drive", `file=${image.root},format=raw,if=none,id=root,readonly=on`]
        : ["-drive", `file=${this.#rootOverlay},format=qcow2,if=none,id=root,cache=unsafe`]),
      ...["-device", "virtio-blk-pci,drive=root"],
      ...kind.disks.flatMap(({ name }) => [
        ...["-drive", `file=${this.#disk(name)},format=raw,if=none,id=${name},cache=unsafe,discard=unmap`],
        ...["-device", `virtio-blk-pci,drive=${name}`],
      ]),
      ...(this.#init === "lab" ? sharedFolder("repository", REPOSITORY, { readonly: true }) : []),
      ...sharedFolder("node", node.dir, { readonly: false }),
      ...["-netdev", `tap,id=net,ifname=${node.tap},script=no,downscript=no`],
      ...["-device", `virtio-net-pci,netdev=net,mac=${node.mac}`],
      ...["-device", "virtio-serial-pci"],
      ...["-chardev", `socket,id=commands,path=${this.#socket},server=on,wait=off`],
      ...["-device", "virtserialport,chardev=commands,name=lab"],
    ];
  }
}

function sharedFolder(tag: string, folder: string, access: { readonly readonly: boolean }): readonly string[] {
  return [
    ...["-fsdev", `local,id=${tag},path=${folder},security_model=none${access.readonly ? ",readonly=on" : ""}`],
    ...["-device", `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
  ];
}
