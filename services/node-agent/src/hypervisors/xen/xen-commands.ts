/** Running Xen's toolstack: each failure becomes an error that says what was to be done. */
import { setTimeout as delay } from "node:timers/promises";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { Command, CommandResult, CommandRunner } from "@gannet/exec";
import { parseDomainList, type XenDomain } from "./domain-list.ts";
import { parseHostInfo, type XenHostInfo } from "./host-info.ts";
import { type Argv, infoArgv, listArgv, type Toolstack } from "./toolstack.ts";

/** Of commands that only ask, and of those that change little. */
const ASK_TIMEOUT_MS = 15_000;
/** `xl` fails to list while a domain comes or goes; it is asked again (spec/node-ops.json, `hv.xen`, op `list`). */
const LIST_RETRY = { firstMs: 300, factor: 1.5, mostMs: 1_000, allMs: 5_000 } as const;
/** How `xl` and `xm` end when Xen refused. */
const REFUSED = [1, 2, 255];

export class XenCommands {
  readonly #runner: CommandRunner;
  #toolstack: Toolstack;

  constructor(runner: CommandRunner, toolstack: Toolstack) {
    this.#runner = runner;
    this.#toolstack = toolstack;
  }

  get toolstack(): Toolstack {
    return this.#toolstack;
  }

  /** From now on. */
  use(toolstack: Toolstack): void {
    this.#toolstack = toolstack;
  }

  /** @throws HypervisorError that begins with what could not be done */
  async run(
    purpose: string,
    argv: Argv,
    options: Omit<Command, "argv" | "timeoutMs"> & { readonly timeoutMs?: number } = {},
  ): Promise<CommandResult> {
    try {
      return await this.#runner.run({ timeoutMs: ASK_TIMEOUT_MS, ...options, argv });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new HypervisorError(`Xen could not ${purpose}: ${error.message}`, { cause: error });
    }
  }

  /** Every domain of this node by its name, domain 0 too. @throws HypervisorError */
  async domains(signal?: AbortSignal): Promise<ReadonlyMap<string, XenDomain>> {
    const deadline = performance.now() + LIST_RETRY.allMs;
    const argv = listArgv(this.toolstack);
    for (
      let pauseMs: number = LIST_RETRY.firstMs;
      ;
      pauseMs = Math.min(pauseMs * LIST_RETRY.factor, LIST_RETRY.mostMs)
    ) {
      const last = performance.now() + pauseMs >= deadline;
      const { exitCode, stdout } = await this.run("list its domains", argv, {
        okExitCodes: last ? [0] : [0, ...REFUSED],
        ...(signal === undefined ? {} : { signal }),
      });
      if (exitCode === 0) return new Map(parseDomainList(stdout).map((domain) => [domain.name, domain]));
      await delay(pauseMs);
    }
  }

  /** @throws HypervisorError */
  async hostInfo(signal?: AbortSignal): Promise<XenHostInfo> {
    const { stdout } = await this.run(
      "tell of this node",
      infoArgv(this.toolstack),
      signal === undefined ? {} : { signal },
    );
    return parseHostInfo(stdout);
  }
}
