/** What agents have reported, read from memory by queries and prerequisites. */
import type { NodeUuid } from "@gannet/objects";
import type { InstanceState, NodeState, OsDefinition } from "@gannet/rpc";

/** What is known of one node now. */
export interface NodeLiveState {
  /** False when the agent is unreachable or has been silent for longer than the bound. */
  readonly reachable: boolean;
  readonly node: NodeState | undefined;
  /** By instance name. */
  readonly instances: ReadonlyMap<string, InstanceState>;
  readonly os: readonly OsDefinition[];
}

export interface LiveState {
  node(uuid: NodeUuid): NodeLiveState;
  /** The node on which an instance was last seen, its primary node first. */
  instance(name: string, primary: NodeUuid): { readonly node: NodeUuid; readonly state: InstanceState } | undefined;
  /**
   * Note what an operation's answer said, ahead of the agent's own push. A push that was on its way by then does not
   * undo it, nor does an answer that arrives late undo what was pushed since (`asOfMs`;
   * an agent that does not tell it, 0, is taken at its word).
   */
  noteInstance(node: NodeUuid, state: InstanceState): void;
  noteInstanceGone(node: NodeUuid, name: string, asOfMs?: number): void;
  /** Called with the names of instances, or the node, whose live values changed. */
  onChange(listener: (change: { readonly node: NodeUuid; readonly instances: readonly string[] }) => void): () => void;
}
