/** Agents that tell of guests and can do nothing else: many of them in one process, for clusters of hundreds of nodes. */
import path from "node:path";
import { createCa, issueCertificate, loadIdentity } from "@gannet/pki";
import {
  type AgentHandlers,
  type AgentServer,
  createAgentServer,
  type InstanceState,
  type LiveStateUpdate,
  SERVICES,
} from "@gannet/rpc";

const MEMORY_MIB = 1_048_576;
const PROCESSORS = 512;

export interface SimulatedNode {
  readonly name: string;
  /** `host:port` of its agent. */
  readonly address: string;
}

export class SimulatedAgents implements AsyncDisposable {
  readonly nodes: readonly SimulatedNode[];
  readonly #servers: readonly AgentServer[];
  readonly #guests: Map<string, readonly InstanceState[]>;

  private constructor(parts: {
    nodes: readonly SimulatedNode[];
    servers: readonly AgentServer[];
    guests: Map<string, readonly InstanceState[]>;
  }) {
    this.nodes = parts.nodes;
    this.#servers = parts.servers;
    this.#guests = parts.guests;
  }

  /** @param stateDir - of a one-machine cluster, whose authority issues one certificate for all of them */
  static async start(stateDir: string, names: readonly string[]): Promise<SimulatedAgents> {
    const ca = await createCa({ dir: path.join(stateDir, "ca") });
    const dir = path.join(stateDir, "simulated-agents");
    await issueCertificate({
      ca,
      name: "simulated.gannet.test",
      sans: [...names, "127.0.0.1"],
      usage: "node",
      dir,
    });
    const identity = await loadIdentity(dir);
    const guests = new Map<string, readonly InstanceState[]>();
    const servers: AgentServer[] = [];
    for (const name of names)
      servers.push(
        await createAgentServer({
          identity,
          listen: { host: "127.0.0.1", port: 0 },
          handlers: handlersOf(name, () => guests.get(name) ?? []),
          onCallEnd: () => undefined,
          development: false,
        }),
      );
    const nodes = names.map((name, index) => ({ name, address: `127.0.0.1:${servers[index]?.port}` }));
    return new SimulatedAgents({ nodes, servers, guests });
  }

  /** What the node tells of from its next stream on. */
  setGuests(node: string, guests: readonly InstanceState[]): void {
    this.#guests.set(node, guests);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop(0)));
  }
}

function handlersOf(name: string, guests: () => readonly InstanceState[]): AgentHandlers {
  const refuse = () => Promise.reject(new Error(`${name} is simulated, and only tells of its guests`));
  const services = Object.entries(SERVICES).map(([service, methods]) => [
    service,
    Object.fromEntries(Object.keys(methods).map((method) => [method, refuse])),
  ]);
  const handlers = Object.fromEntries(services) as AgentHandlers;
  return {
    ...handlers,
    node: {
      ...handlers.node,
      watch: ({ heartbeatMs }, { signal }) => watch({ name, guests, heartbeatMs }, signal),
    },
  };
}

async function* watch(
  { name, guests, heartbeatMs }: { name: string; guests: () => readonly InstanceState[]; heartbeatMs: number },
  signal: AbortSignal,
): AsyncGenerator<LiveStateUpdate> {
  yield {
    update: { $case: "snapshot", value: { node: nodeState(name), instances: [...guests()], os: [], asOfMs: 0 } },
  };
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, heartbeatMs).unref());
    yield { update: { $case: "heartbeat", value: {} } };
  }
}

function nodeState(nodeName: string) {
  return {
    nodeName,
    bootId: nodeName,
    ...{ memoryTotalMib: MEMORY_MIB, memoryFreeMib: MEMORY_MIB / 2, memoryNodeMib: 1_024 },
    ...{ cpuTotal: PROCESSORS, cpuSockets: 2, cpuNumaNodes: 2, cpuNode: 1 },
    ...{ storage: [], hypervisors: [], agentVersion: "simulated", clockMs: Date.now(), bridges: [], extStorage: [] },
  };
}
