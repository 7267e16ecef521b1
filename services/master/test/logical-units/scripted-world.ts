/** What nodes without agents have in common: what they were asked, what is to fail, and how they reach each other. */
import type { DrbdLink, TransferState } from "@gannet/rpc";

/** A volume of a node. */
export interface Volume {
  /** UUID of the disk it belongs to; undefined for one that is nobody's. */
  owner: string | undefined;
  sizeMib: number;
  inUse: boolean;
  /** A word for what is on it. */
  contents: string;
  /** Physical volumes that it lies on. */
  devices?: readonly string[];
}

/** One end of a DRBD disk that is up. */
export interface DrbdEnd {
  readonly disk: string;
  link: DrbdLink;
  /** Undefined while it has none. */
  data: Volume | undefined;
  metadata: Volume | undefined;
  role: "primary" | "secondary";
  connected: boolean;
  dualPrimary: boolean;
  upToDate: boolean;
  paused: boolean;
}

/** Calls that fail. */
export interface Failure {
  readonly node?: string;
  /** `create`, `seed`, `os.create`, … */
  readonly method: string;
  readonly template?: string;
  readonly error?: Error;
  /** How many calls fail; all when absent. */
  times?: number;
  /** The work is done before the call fails, as when an answer is lost. */
  readonly after?: boolean;
}

/** One call that fails, whatever it is. */
export interface Fault {
  /** Its place among {@link ScriptedWorld.calls}. */
  readonly call: number;
  readonly errorOf: (call: Call) => Error;
  /** The work is done before the call fails, as when an answer is lost. */
  readonly after: boolean;
}

/** What a node was asked. */
export interface Call {
  readonly node: string;
  readonly method: string;
  readonly template: string;
  readonly index: number;
  readonly request: unknown;
}

/** All nodes together, as one of them sees them. */
export interface ScriptedWorld {
  readonly calls: Call[];
  readonly failures: readonly Failure[];
  readonly fault: Fault | undefined;
  readonly syncLooks: number;
  readonly onCall: ((call: Call) => Promise<void>) | undefined;
  readonly silent: ReadonlySet<string>;
  readonly syncs: Map<number, number>;
  all(): readonly { readonly volumes: Map<string, Volume> }[];
  named(name: string): { readonly incoming: ReadonlySet<string> };
  openTransfer(name: string, write: (contents: string) => void): string;
  endTransfer(name: string): void;
  sendTransfer(port: number, contents: string): string;
  followTransfer(name: string): AsyncIterable<{ readonly transfers: readonly TransferState[] }>;
  peerOf(end: DrbdEnd): DrbdEnd | undefined;
  startSync(end: DrbdEnd): void;
  finishSync(end: DrbdEnd, peer: DrbdEnd): void;
  noteWhole(end: DrbdEnd): void;
}
