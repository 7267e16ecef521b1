/** Whether a guest runs under KVM or under qemu's own translator (TCG). */
import { constants } from "node:fs";
import { access, readFile, stat, writeFile } from "node:fs/promises";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { bootId } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { z } from "zod";
import { accelerationProgram, DEBUG_EXIT_DEVICE, PROGRAM_RAN_EXIT_CODE } from "./acceleration-program.ts";
import type { KvmParameters } from "./kvm-parameters.ts";
import type { QemuFacts } from "./qemu-binary.ts";

export type Accelerator = "kvm" | "tcg";

/** The agent's setting: `auto` proves that KVM works before it is used, `on` and `off` need no proof. */
export type KvmAcceleration = "auto" | "on" | "off";

/** Whether KVM works here, and if not, why. */
export type KvmVerdict = { readonly works: true } | { readonly works: false; readonly reason: string };

/**
 * `kvm_flag` "enabled" insists on KVM, "disabled" on TCG; empty takes KVM where it works.
 * @throws HypervisorError when KVM is insisted on and does not work
 */
export function chooseAccelerator(flag: KvmParameters["kvm_flag"], verdict: KvmVerdict): Accelerator {
  if (flag === "disabled") return "tcg";
  if (verdict.works) return "kvm";
  if (flag === "") return "tcg";
  throw new HypervisorError(`kvm_flag is "enabled", but KVM does not work on this node: ${verdict.reason}`);
}

const keptVerdict = z.object({
  circumstances: z.string(),
  verdict: z.union([z.object({ works: z.literal(true) }), z.object({ works: z.literal(false), reason: z.string() })]),
});

/** A working KVM needs a tenth of a second for qemu's start and the program together. */
const PROBE_TIMEOUT_MS = 3_000;
const KVM_DEVICE = "/dev/kvm";

/**
 * Proves KVM by running a program under it (see acceleration-program.ts). What it cannot prove: that everything a
 * guest will do works. Asked once for each qemu program; after loading a kvm module, restart the agent. Where KVM is broken
 * the proof takes seconds, so a restarted agent takes the verdict of the last one, as long as the machine has not
 * been booted since and /dev/kvm and the program are the same.
 */
export class AccelerationProbe {
  readonly #setting: KvmAcceleration;
  readonly #runner: CommandRunner;
  readonly #logger: Logger;
  readonly #imagePath: string;
  readonly #verdicts = new Map<string, Promise<KvmVerdict>>();

  /** @param imagePath where the program's image may be written */
  constructor(parts: { setting: KvmAcceleration; runner: CommandRunner; logger: Logger; imagePath: string }) {
    this.#setting = parts.setting;
    this.#runner = parts.runner;
    this.#logger = parts.logger;
    this.#imagePath = parts.imagePath;
  }

  async verdict(qemu: QemuFacts): Promise<KvmVerdict> {
    if (this.#setting === "on") return { works: true };
    if (this.#setting === "off") return { works: false, reason: "it is switched off in the agent's settings" };
    const known = this.#verdicts.get(qemu.path);
    if (known !== undefined) return known;
    const verdict = this.#remembered(qemu).then((found) => {
      this.#logger.info({ qemu: qemu.path, kvm: found }, found.works ? "KVM works" : "KVM does not work");
      return found;
    });
    this.#verdicts.set(qemu.path, verdict);
    return verdict;
  }

  async #remembered(qemu: QemuFacts): Promise<KvmVerdict> {
    const circumstances = await circumstancesOf(qemu.path);
    const file = `${this.#imagePath}.verdict`;
    const kept = await readFile(file, "utf8").then(parseKept, () => undefined);
    if (kept?.circumstances === circumstances) return kept.verdict;
    const verdict = await this.#probe(qemu);
    await writeFile(file, JSON.stringify({ circumstances, verdict }), { mode: 0o600 });
    return verdict;
  }

  async #probe(qemu: QemuFacts): Promise<KvmVerdict> {
    const openable = await access(KVM_DEVICE, constants.R_OK | constants.W_OK).then(
      () => true,
      () => false,
    );
    if (!openable) return { works: false, reason: `${KVM_DEVICE} is not there or may not be opened` };
    // The program is for x86; elsewhere a KVM that can be opened has not been seen to be broken.
    if (!qemu.devices.has(DEBUG_EXIT_DEVICE.driver)) return { works: true };
    try {
      await writeFile(this.#imagePath, accelerationProgram(), { mode: 0o600 });
      await this.#runner.run({
        argv: probeArgv(qemu.path, this.#imagePath),
        timeoutMs: PROBE_TIMEOUT_MS,
        okExitCodes: [PROGRAM_RAN_EXIT_CODE],
      });
      return { works: true };
    } catch (error) {
      const told = error instanceof Error ? error.message : String(error);
      return { works: false, reason: `a test program did not run under it: ${told}` };
    }
  }
}

/** What a verdict holds for, as one word to compare. */
async function circumstancesOf(qemuPath: string): Promise<string> {
  const identity = (file: string) =>
    stat(file).then(
      ({ ino, ctimeMs, size }) => [ino, ctimeMs, size],
      () => null,
    );
  return JSON.stringify([bootId(), qemuPath, await identity(qemuPath), await identity(KVM_DEVICE)]);
}

function parseKept(text: string): { readonly circumstances: string; readonly verdict: KvmVerdict } | undefined {
  try {
    return keptVerdict.parse(JSON.parse(text));
  } catch {
    // Half written by an agent that was killed: as good as none.
    return undefined;
  }
}

function probeArgv(qemuPath: string, imagePath: string): readonly [string, ...string[]] {
  const machine = ["-machine", "pc", "-accel", "kvm", "-m", "16", "-bios", imagePath];
  const bare = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"];
  return [qemuPath, ...machine, ...bare, "-device", JSON.stringify(DEBUG_EXIT_DEVICE)];
}
