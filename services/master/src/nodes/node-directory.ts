/** The connections to all nodes' agents: one for each node of the configuration, opened when first needed. */
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, Node, NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";

const AGENT_PORT = 1811;

/** Where a node's agent listens. */
export function agentAddress(node: Node): string {
  return node.agentAddress ?? `${node.primaryIp.includes(":") ? `[${node.primaryIp}]` : node.primaryIp}:${AGENT_PORT}`;
}

/** An agent to connect to. */
export interface AgentTarget {
  /** Of its node, as in its certificate. */
  readonly name: string;
  /** `host:port`. */
  readonly address: string;
}

export interface NodeDirectoryOptions {
  readonly view: () => ConfigView;
  readonly connect: (target: AgentTarget) => NodeClient;
}

export class NodeDirectory {
  readonly #options: NodeDirectoryOptions;
  readonly #clients = new Map<NodeUuid, { readonly address: string; readonly client: NodeClient }>();

  constructor(options: NodeDirectoryOptions) {
    this.#options = options;
  }

  /** @throws OpPrereqError when the node is unknown or marked offline */
  client(uuid: NodeUuid): NodeClient {
    const node = this.#options.view().nodes.get(uuid);
    if (node === undefined) throw new OpPrereqError(`No node has the UUID ${uuid}`, "unknown_entity");
    if (node.offline) throw new OpPrereqError(`Node ${node.name} is marked offline`, "wrong_state");
    return this.#connected(node);
  }

  /** Close the connections of nodes that are gone or have moved. */
  refresh(view: ConfigView): void {
    for (const [uuid, { address, client }] of this.#clients) {
      const node = view.nodes.get(uuid);
      if (node !== undefined && agentAddress(node) === address) continue;
      this.#clients.delete(uuid);
      client.close();
    }
  }

  close(): void {
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #connected(node: Node): NodeClient {
    const address = agentAddress(node);
    const known = this.#clients.get(node.uuid);
    if (known?.address === address) return known.client;
    known?.client.close();
    const client = this.#options.connect({ name: node.name, address });
    this.#clients.set(node.uuid, { address, client });
    return client;
  }
}
