/** What the remote API needs of the rest of the master; main.ts wires it. */
import type { ConfigStore, Fence } from "@gannet/config-store";
import type { JobLedger, OpcodeInput } from "@gannet/job-ledger";
import type { LockManager } from "@gannet/locking";
import type { NodeUuid } from "@gannet/objects";
import type { InstanceConsole } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { LiveState } from "../live-state/live-state-contract.ts";

/** A certificate with its chain and its key, both PEM. */
export interface TlsIdentity {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

export interface RapiDeps {
  readonly configStore: Pick<ConfigStore, "view" | "onChange" | "commit">;
  /** Whether this process leads the cluster, and its proof; what changes without a job carries it. */
  readonly leader: { current(): Fence | undefined };
  readonly ledger: Omit<JobLedger, "submit">;
  /** Submits to the ledger, and keeps secret parameters out of it (executor/secret-vault.ts). */
  readonly submit: JobLedger["submit"];
  readonly locks: Pick<LockManager, "list" | "explain">;
  readonly liveState: Pick<LiveState, "node" | "instance" | "onChange">;
  /** The opcodes that a logical unit performs; others are refused at submit. */
  readonly implemented: ReadonlySet<string>;
  /** What of an opcode that is performed cannot be done yet, in words; by default it is done in full. */
  readonly unavailable?: (opcode: OpcodeInput) => string | undefined;
  readonly logger: Logger;
  /** Path of the users file (spec/rapi.json, `http.auth`). */
  readonly usersFile: string;
  readonly tls: TlsIdentity;
  /**
   * Ask the agent of a running instance's node how its console is reached.
   * @throws HypervisorError when it does not run, NodeUnreachable
   */
  readonly console: (instanceName: string) => Promise<InstanceConsole>;
  /**
   * Ask a node's agent which exports the node keeps: the names of their instances.
   * @throws NodeUnreachable
   */
  readonly exportsOn: (node: NodeUuid) => Promise<readonly string[]>;
  /** Why no request is served now, whoever makes it; by default all are. */
  readonly refusal?: () => Error | undefined;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}
