/** The node agent's figures. */
import path from "node:path";
import type { GuestState } from "@gannet/driver-contract";
import type { CommandRun } from "@gannet/exec";
import type { CallEnd, NodeState } from "@gannet/rpc";
import { Histogram, REQUEST_SECONDS, type Reading, type Registry, readingGauge, WORK_SECONDS } from "@gannet/telemetry";

/** What the agent has seen of its node when it last looked; nothing before a master has asked. */
export interface Seen {
  readonly node: NodeState | undefined;
  readonly guests: readonly GuestState[];
  /** Masters that are told of each change. */
  readonly watchers: number;
}

/** More programs than an agent runs by itself: names of a site's scripts must not grow the figures without end. */
const PROGRAMS_LIMIT = 100;
const BYTES_PER_MIB = 1024 * 1024;

export class AgentMetrics {
  readonly #registry: Registry;
  readonly #commands: Histogram;
  readonly #calls: Histogram;
  readonly #programs = new Set<string>();

  constructor(registry: Registry) {
    this.#registry = registry;
    const registers = [registry];
    this.#commands = new Histogram({
      name: "gannet_command_duration_seconds",
      help: "Commands that the agent has run, by program and what came of them.",
      labelNames: ["program", "outcome"],
      buckets: [...WORK_SECONDS],
      registers,
    });
    this.#calls = new Histogram({
      name: "gannet_rpc_server_duration_seconds",
      help: "Calls of masters that the agent has answered: ok, error, or canceled; streams last as long as a master is there.",
      labelNames: ["method", "outcome"],
      buckets: [...REQUEST_SECONDS, 60, 600],
      registers,
    });
  }

  commandEnded({ program, durationMs, outcome }: CommandRun): void {
    this.#commands.observe({ program: this.#programName(program), outcome }, durationMs / 1000);
  }

  callEnded({ method, durationMs, aborted, error }: CallEnd): void {
    const outcome = error === undefined ? "ok" : aborted ? "canceled" : "error";
    this.#calls.observe({ method: method.split(".").at(-1) ?? method, outcome }, durationMs / 1000);
  }

  /** From when the agent looks at its node. */
  follow(seen: () => Seen): void {
    const gauge = (name: string, help: string, labels: readonly string[], read: () => readonly Reading[]) =>
      readingGauge(this.#registry, { name, help, labels }, read);
    gauge("gannet_guests", "Guests of this node, by hypervisor and status.", ["hypervisor", "status"], () => {
      const kinds = Map.groupBy(seen().guests, ({ hypervisor, status }) => `${hypervisor} ${status}`);
      return [...kinds].map(([kind, guests]): Reading => {
        const [hypervisor = "", status = ""] = kind.split(" ");
        return [{ hypervisor, status }, guests.length];
      });
    });
    const ofNode = (read: (node: NodeState) => readonly Reading[]) => () => {
      const { node } = seen();
      return node === undefined ? [] : read(node);
    };
    gauge(
      "gannet_node_memory_bytes",
      "Memory of the node: total, free for guests, and used by the node itself.",
      ["kind"],
      ofNode(({ memoryTotalMib, memoryFreeMib, memoryNodeMib }) => [
        [{ kind: "total" }, memoryTotalMib * BYTES_PER_MIB],
        [{ kind: "free" }, memoryFreeMib * BYTES_PER_MIB],
        [{ kind: "node" }, memoryNodeMib * BYTES_PER_MIB],
      ]),
    );
    const storage = (name: string, help: string, mib: (space: NodeState["storage"][number]) => number) =>
      gauge(
        name,
        help,
        ["type", "name"],
        ofNode((node) =>
          node.storage.map((space): Reading => [{ type: space.type, name: space.name }, mib(space) * BYTES_PER_MIB]),
        ),
      );
    storage("gannet_storage_size_bytes", "Size of each place for disks.", ({ totalMib }) => totalMib);
    storage("gannet_storage_free_bytes", "What is free of each place for disks.", ({ freeMib }) => freeMib);
    gauge(
      "gannet_hypervisor_usable",
      "1 where guests of this hypervisor can be started, 0 where something is wrong.",
      ["hypervisor"],
      ofNode((node) => node.hypervisors.map(({ name, problem }) => [{ hypervisor: name }, problem === "" ? 1 : 0])),
    );
    gauge("gannet_agent_watchers", "Masters that follow this node's state.", [], () => [[{}, seen().watchers]]);
  }

  #programName(program: string): string {
    const name = path.basename(program);
    if (this.#programs.size < PROGRAMS_LIMIT) this.#programs.add(name);
    return this.#programs.has(name) ? name : "other";
  }
}
