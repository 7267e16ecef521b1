/** A node leaves the cluster: its certificates are refused by all others at once, and its agent destroys its key. */
import type { ConfigChange } from "@gannet/config-store";
import type { ConfigView, Node, NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { withRevoked } from "../../membership/node-certificates.ts";
import { tellTrust } from "../cluster/trust.ts";
import { agentOf } from "./agent-checks.ts";

/** An agent that is gone must not keep its node's removal for longer. */
const PATIENCE_MS = 10_000;

export class Farewell implements Disposable {
  readonly #ctx: ExecContext;
  readonly #name: string;
  /** Of the node's agent; undefined when it cannot be reached, or this master looks after no certificates. */
  readonly #agent: NodeClient | undefined;

  private constructor(ctx: ExecContext, name: string, agent: NodeClient | undefined) {
    this.#ctx = ctx;
    this.#name = name;
    this.#agent = agent;
  }

  /** Before the node is removed: its agent is not talked to by a new connection any more afterwards. */
  static async begin(ctx: ExecContext, uuid: NodeUuid): Promise<Farewell> {
    const node = ctx.config.nodes.get(uuid);
    if (ctx.certificates === undefined || node === undefined) return new Farewell(ctx, "", undefined);
    // It is known to be silent: nobody waits for it.
    if (node.offline) return new Farewell(ctx, node.name, undefined);
    const agent = ctx.agentAt(agentOf(node));
    const { signal } = ctx;
    const failure = await failureOf(ctx, () =>
      agent.node.describe({ knownStorage: true }, { signal, timeoutMs: PATIENCE_MS }),
    );
    if (failure === undefined) return new Farewell(ctx, node.name, agent);
    agent.close();
    ctx.feedback.warning(
      `Node ${node.name} does not answer: it is not told that it has left the cluster, which refuses its certificate`,
    );
    return new Farewell(ctx, node.name, undefined);
  }

  /** What the configuration is to say of the certificates of the node, those included that it has just shown. */
  revocation(view: ConfigView, node: Node): readonly ConfigChange[] {
    const { certificates } = this.#ctx;
    if (certificates === undefined) return [];
    return [{ kind: "cluster", put: withRevoked(view.cluster, certificates.remembered(node) ?? node) }];
  }

  /** After it. */
  async say(): Promise<void> {
    const { certificates, epoch, signal, feedback } = this.#ctx;
    if (certificates === undefined) return;
    certificates.forget(this.#name);
    for (const { node, failure } of await tellTrust(this.#ctx, certificates))
      feedback.warning(`Node ${node.name} was not told which certificates are revoked: ${failure.message}`);
    const agent = this.#agent;
    if (agent === undefined) return;
    const failure = await failureOf(this.#ctx, () =>
      agent.node.forgetCluster({ epoch }, { signal, timeoutMs: PATIENCE_MS }),
    );
    if (failure !== undefined)
      feedback.warning(`Node ${this.#name} was not told that it has left the cluster: ${failure.message}`);
  }

  [Symbol.dispose](): void {
    this.#agent?.close();
  }
}
