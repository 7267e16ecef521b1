/** What the remote API needs of the rest of the master; main.ts wires it. */
import type { ConfigStore } from "@gannet/config-store";
import type { JobLedger } from "@gannet/job-ledger";
import type { InstanceConsole } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { LiveState } from "../live-state/live-state-contract.ts";

/** A certificate with its chain and its key, both PEM. */
export interface TlsIdentity {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** The part of the ledger that the API uses. `submit` keeps secret parameters to itself (executor/secret-vault.ts). */
export type RapiLedger = Pick<JobLedger, "submit" | "get" | "list" | "ids" | "cancel" | "onChange">;

export interface RapiDeps {
  readonly configStore: Pick<ConfigStore, "view" | "onChange">;
  readonly ledger: RapiLedger;
  readonly liveState: Pick<LiveState, "node" | "instance" | "onChange">;
  /** The opcodes that a logical unit performs; others are refused at submit. */
  readonly implemented: ReadonlySet<string>;
  readonly logger: Logger;
  /** Path of the users file (spec/rapi.json, `http.auth`). */
  readonly usersFile: string;
  readonly tls: TlsIdentity;
  /**
   * Ask the agent of a running instance's node how its console is reached.
   * @throws HypervisorError when it does not run, NodeUnreachable
   */
  readonly console: (instanceName: string) => Promise<InstanceConsole>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}
