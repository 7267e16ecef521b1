/** What a logical unit is given: the configuration, the nodes, the live state, its log and its undo list. */
import type { ConfigChange } from "@gannet/config-store";
import type { LogEntryType, UndoStep } from "@gannet/job-ledger";
import type { LockWish } from "@gannet/locking";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import type { CertificateValidity } from "@gannet/pki";
import type { NodeClient, Step } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { LiveState } from "../live-state/live-state-contract.ts";
import type { NodeCertificates } from "../membership/node-certificates.ts";
import type { AgentTarget } from "../nodes/node-directory.ts";

/** A prerequisite check reads; it changes nothing, here or on a node. */
export interface PrereqContext {
  /** The newest configuration. Under the opcode's locks, what they cover does not change. */
  readonly config: ConfigView;
  readonly live: LiveState;
  /** Aborted when this process stops being the leader. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Seconds since 1970, for what only compares. */
  now(): number;
  /** A node's agent. @throws OpPrereqError when the node is offline or unknown */
  node(uuid: NodeUuid): NodeClient;
  /**
   * An agent that {@link PrereqContext.node} does not answer: of a node that is marked offline, or is none of the
   * cluster yet. The caller closes it.
   */
  agentAt(target: AgentTarget): NodeClient;
  /**
   * What clusters share that move instances to each other; it goes into no log, answer or command.
   * @throws OpPrereqError (environment_error) when the cluster has none
   */
  domainSecret(): Promise<string>;
  /** Those of the nodes, as far as this master looks after them. */
  readonly certificates: NodeCertificates | undefined;
  /** The locks that the opcode holds now. */
  heldLocks(): Promise<readonly LockWish[]>;
  /** Whether the queue takes no new jobs. */
  isQueueDrained(): Promise<boolean>;
  /** How long those certificates are valid that this process shows, and checks others by. */
  masterCertificates(): Promise<readonly CertificateValidity[]>;
}

/**
 * Feedback in the job's log, as Ganeti's clients print it (spec/jobs.json, `log_entry`). Nobody waits for an
 * entry: they are written in order beside the work, and the opcode does not end before its log is written.
 */
export interface JobFeedback {
  info(text: string): void;
  warning(text: string): void;
  /** `* creating instance disks...` and the like: a step of the operation. */
  step(text: string): void;
  entry(type: LogEntryType, payload: unknown): void;
}

export interface ExecContext extends PrereqContext {
  readonly jobId: number;
  readonly feedback: JobFeedback;
  /** The proof of leadership, for calls that are no steps. */
  readonly epoch: number;
  /** The proof of leadership and the identity of one step, for a call that changes something on a node. */
  step(name: string): Step;
  /** Commit changes of the configuration; see ConfigStore.commit. */
  commit(change: (view: ConfigView) => readonly ConfigChange[]): Promise<ConfigView>;
  /**
   * Record how to undo what is done next, durably. Undone last first if the opcode fails, by this process
   * or by the next leader.
   */
  undo(step: UndoStep): Promise<void>;
  /** From here on the opcode's work stays whatever happens. */
  pointOfNoReturn(): Promise<void>;
  /** Let go of locks that the rest of the opcode does not need. */
  releaseLocks(wishes: readonly LockWish[]): Promise<void>;
}
