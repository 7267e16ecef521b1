/**
 * Contents of disks on their way between nodes, clusters and export folders: the programs of one end of each
 * transfer, and how they go (spec/node-ops.json, `import_export_daemon`).
 */
import type { AttachedDevice } from "@gannet/driver-contract";
import type { OsCreateRequest } from "../os/index.ts";

/** How both ends of a transfer find and trust each other. */
export interface TransferOptions {
  /** `none`, `gzip`, `gzip-fast`, `gzip-slow`, `lzop`, `zstd` or another tool of the cluster's list. */
  readonly compress: string;
  /** Said by the sender first, 5 to 100 letters, digits, `-`, `_` and `.`; nothing when empty. */
  readonly magic: string;
  readonly ipv6: boolean;
  /** Until both ends know each other. */
  readonly connectTimeoutSeconds: number;
  /** Name of this end's own key (`createCertificate`); the node's own when empty. */
  readonly keyName: string;
  /** The other end's certificate; the cluster's authority when empty. */
  readonly peerCertificatePem: string;
}

/** Where contents come from or go to. */
export type TransferEnd =
  | { readonly kind: "disk"; readonly disk: AttachedDevice; readonly sizeMib: number }
  | {
      readonly kind: "script";
      readonly request: OsCreateRequest;
      readonly disk: AttachedDevice;
      readonly index: number;
    }
  /**
   * Written, it becomes part of the instance's export that `finalizeExport` puts in its place; to read, `instanceName`
   * may also be the absolute path of an export below the export folder.
   */
  | { readonly kind: "file"; readonly instanceName: string; readonly file: string };

export interface TransferRequest {
  readonly options: TransferOptions;
  readonly instanceName: string;
  /** Names the transfer in logs and files: `disk0`. */
  readonly component: string;
  readonly end: TransferEnd;
}

/** One transfer as it is now (proto/gannet/node/v1/transfer.proto, `TransferState`). */
export interface TransferState {
  readonly name: string;
  /** 0 until it listens. */
  readonly listenPort: number;
  readonly connected: boolean;
  readonly transferredMib: number;
  readonly mibPerSecond: number;
  readonly percent: number | null;
  readonly estimatedSeconds: number | null;
  readonly over: boolean;
  /** Why it failed; empty when it has not. */
  readonly problem: string;
  /** Last lines of what its programs said. */
  readonly recentOutput: readonly string[];
}

/**
 * A receiver cannot tell a sender that was killed from one that has sent everything: a transfer has succeeded when both
 * of its ends say so.
 */
export interface Transfers {
  /**
   * Listen at `address`, and write what arrives.
   * @returns its name, once it listens
   * @throws OpPrereqError for what cannot be done; OpExecError when it does not come to listen
   */
  startImport(request: TransferRequest & { readonly address: string }, signal: AbortSignal): Promise<string>;
  /** Connect, and send. @returns its name @throws OpPrereqError for what cannot be done */
  startExport(
    request: TransferRequest & { readonly host: string; readonly port: number },
    signal: AbortSignal,
  ): Promise<string>;
  /** @throws OpPrereqError (unknown_entity) for a name that is not known */
  follow(names: readonly string[], signal: AbortSignal): AsyncIterable<readonly TransferState[]>;
  /** End and forget. Those that are over or unknown are no error. */
  end(names: readonly string[]): Promise<void>;
  /** A key of this node for one purpose, and its self-signed certificate. It outlives the agent, for its validity. */
  createCertificate(validitySeconds: number): Promise<{ readonly name: string; readonly pem: string }>;
  /** One that is gone is no error. */
  removeCertificate(name: string): Promise<void>;
  /** Write the description of what has arrived, and put it in the place of an older export. Idempotent. */
  finalizeExport(instanceName: string, description: string): Promise<void>;
  /** Names of finished exports. */
  listExports(): Promise<readonly string[]>;
  /** The description of an export, by its name or its absolute path. @throws OpPrereqError (unknown_entity) */
  exportInfo(name: string): Promise<string>;
  /** The export, and what a newer one that broke off has left; or only that. What is gone is no error. */
  removeExport(name: string, what: "all" | "unfinished"): Promise<void>;
  /** End all, with what they hold on this node. */
  close(): Promise<void>;
}
