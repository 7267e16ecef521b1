/** The context of one running opcode: the ledger, the locks and the nodes, seen from a logical unit. */
import type { ConfigStore } from "@gannet/config-store";
import type { Fence, JobLedger, LogEntryType, UndoStep } from "@gannet/job-ledger";
import type { LockManager, LockWish } from "@gannet/locking";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import type { CertificateValidity } from "@gannet/pki";
import type { NodeClient, Step } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { LiveState } from "../live-state/live-state-contract.ts";
import type { NodeCertificates } from "../membership/node-certificates.ts";
import type { AgentTarget } from "../nodes/node-directory.ts";
import type { ExecContext, JobFeedback } from "./context.ts";

/** The parts of the master that running opcodes use. */
export interface ExecutionServices {
  readonly ledger: JobLedger;
  readonly locks: LockManager;
  readonly configStore: ConfigStore;
  readonly live: LiveState;
  /** @throws OpPrereqError when the node is offline or unknown */
  readonly node: (uuid: NodeUuid) => NodeClient;
  /** A connection of its own to an agent; whoever asks for it closes it. */
  readonly connectAgent: (target: AgentTarget) => NodeClient;
  /** @throws OpPrereqError (environment_error) when the cluster has none */
  readonly domainSecret: () => Promise<string>;
  /** See {@link ExecContext.masterCertificates}; none by default. */
  readonly masterCertificates?: () => Promise<readonly CertificateValidity[]>;
  /** Those of the nodes, and the authority that issues them; nothing is done about certificates when absent. */
  readonly certificates?: NodeCertificates;
  readonly logger: Logger;
}

export interface OpcodeIdentity {
  readonly jobId: number;
  readonly opcodeIndex: number;
  readonly fence: Fence;
  readonly signal: AbortSignal;
  /** Called with the owners that a release of locks granted. */
  readonly wake: (owners: readonly number[]) => Promise<void>;
}

export class OpcodeContext implements ExecContext {
  readonly jobId: number;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly live: LiveState;
  readonly feedback: JobFeedback;
  readonly #services: ExecutionServices;
  readonly #identity: OpcodeIdentity;
  #hasCommitted = false;
  #undo: UndoStep[] = [];
  #logging: Promise<void>[] = [];

  constructor(services: ExecutionServices, identity: OpcodeIdentity) {
    this.#services = services;
    this.#identity = identity;
    this.jobId = identity.jobId;
    this.signal = identity.signal;
    this.live = services.live;
    this.logger = services.logger.child({ job: identity.jobId, opcode: identity.opcodeIndex });
    this.feedback = feedbackTo((type, payload) => {
      const written = services.ledger.log(identity.jobId, identity.opcodeIndex, type, payload, identity.fence);
      // Told by `logged`, unless the opcode has failed by then.
      written.catch(() => undefined);
      this.#logging.push(written);
    });
  }

  get config(): ConfigView {
    return this.#services.configStore.view;
  }

  get certificates(): NodeCertificates | undefined {
    return this.#services.certificates;
  }

  get epoch(): number {
    return this.#identity.fence.epoch;
  }

  /** The undo list as recorded so far, in the order the steps were taken. */
  get undoList(): readonly UndoStep[] {
    return this.#undo;
  }

  /** Resolves when the log is written as far as it goes. @throws what kept an entry from being written */
  async logged(): Promise<void> {
    const written = this.#logging;
    this.#logging = [];
    await Promise.all(written);
  }

  now(): number {
    return Date.now() / 1000;
  }

  node(uuid: NodeUuid): NodeClient {
    return this.#services.node(uuid);
  }

  agentAt(target: AgentTarget): NodeClient {
    return this.#services.connectAgent(target);
  }

  domainSecret(): Promise<string> {
    return this.#services.domainSecret();
  }

  heldLocks(): Promise<readonly LockWish[]> {
    return this.#services.locks.held(this.#identity.jobId);
  }

  isQueueDrained(): Promise<boolean> {
    return this.#services.ledger.isDrained();
  }

  async masterCertificates(): Promise<readonly CertificateValidity[]> {
    return (await this.#services.masterCertificates?.()) ?? [];
  }

  step(name: string): Step {
    const { fence, jobId, opcodeIndex } = this.#identity;
    return { epoch: fence.epoch, jobId, opcodeIndex, step: name };
  }

  /** Whether the opcode has changed the configuration. */
  get hasCommitted(): boolean {
    return this.#hasCommitted;
  }

  commit(change: Parameters<ConfigStore["commit"]>[0]): Promise<ConfigView> {
    this.#hasCommitted = true;
    // An opcode that gave up here could not take back what it has committed before either.
    return this.#services.configStore.commit(change, this.#identity.fence, { patienceMs: Number.POSITIVE_INFINITY });
  }

  async undo(step: UndoStep): Promise<void> {
    const { jobId, opcodeIndex, fence } = this.#identity;
    await this.#services.ledger.pushUndo(jobId, opcodeIndex, step, fence);
    this.#undo.push(step);
  }

  async pointOfNoReturn(): Promise<void> {
    const { jobId, opcodeIndex, fence } = this.#identity;
    await this.#services.ledger.clearUndo(jobId, opcodeIndex, fence);
    this.#undo = [];
  }

  async releaseLocks(wishes: readonly LockWish[]): Promise<void> {
    const { jobId, fence, wake } = this.#identity;
    await wake(await this.#services.locks.release(jobId, wishes, fence));
  }
}

function feedbackTo(write: (type: LogEntryType, payload: unknown) => void): JobFeedback {
  return {
    info: (text) => write("message", ` - INFO: ${text}`),
    warning: (text) => write("message", ` - WARNING: ${text}`),
    step: (text) => write("message", `* ${text}`),
    entry: write,
  };
}
