/** What the remote API needs of the rest of the master; main.ts wires it. */
import type { ConfigStore, Fence, LeaderNotes } from "@gannet/config-store";
import type { JobLedger, OpcodeInput } from "@gannet/job-ledger";
import type { LockManager } from "@gannet/locking";
import type { NodeUuid } from "@gannet/objects";
import type { InstanceConsole } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { Masters } from "../leadership/masters.ts";
import type { LiveState } from "../live-state/live-state-contract.ts";
import type { Joining } from "../membership/joining.ts";
import type { FailoverSettings } from "../watcher/failover/node-failover.ts";
import type { WatcherSettings } from "../watcher/watcher.ts";
import type { AuditLog } from "./audit-log.ts";
import type { LeaderForwarding } from "./leader-forwarding.ts";

/** A certificate with its chain and its key, both PEM. */
export interface TlsIdentity {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** How one request went, for measurements. */
export interface RequestEnd {
  /** The resource's path as it is declared; undefined when there is none of that path. */
  readonly route: string | undefined;
  readonly method: string;
  readonly status: number;
  readonly ms: number;
}

export interface RapiDeps {
  readonly configStore: Pick<ConfigStore, "view" | "onChange" | "commit">;
  /** Whether this process leads the cluster, and its proof; what changes without a job carries it. */
  readonly leader: { current(): Fence | undefined };
  readonly masters: Pick<Masters, "survey" | "failOver">;
  /** To the leader, while this process is not; where it is absent there is no other master. */
  readonly forwarding?: Pick<LeaderForwarding, "forward">;
  readonly ledger: Omit<JobLedger, "submit">;
  /** Submits to the ledger, and keeps secret parameters out of it (executor/secret-vault.ts). */
  readonly submit: JobLedger["submit"];
  readonly locks: Pick<LockManager, "list" | "explain">;
  readonly liveState: Pick<LiveState, "node" | "instance" | "onChange">;
  /** Where the leader's watcher tells of itself. */
  readonly notes: Pick<LeaderNotes, "read">;
  readonly watcher: WatcherSettings;
  readonly automaticFailover: FailoverSettings;
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
  /** Told of each request that was answered. */
  readonly onRequestEnd?: (end: RequestEnd) => void;
  /** Where writes and refused logins are recorded; nowhere when absent. */
  readonly audit?: Pick<AuditLog, "record" | "admit">;
  /** How machines join the cluster; refused when absent. */
  readonly joining?: Joining;
  /** For connections that ask for JOIN_SERVER_NAME; they are shown what all others are when it is absent. */
  readonly joinTls?: () => TlsIdentity | undefined;
  /** Why no request is served now, whoever makes it; by default all are. */
  readonly refusal?: () => Error | undefined;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}
