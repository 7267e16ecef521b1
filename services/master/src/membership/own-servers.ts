/**
 * The Redis and the Sentinel of this machine show the certificate, and trust the authorities, that the master keeps in
 * their files. It sees to it that they read them again, and knows what they have read.
 */
import { createHash, X509Certificate } from "node:crypto";
import { stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import type { MastersTurn } from "@gannet/locking";
import type { MasterServers } from "@gannet/objects";
import { certificatesIn, fingerprintOf, IDENTITY_FILES, type Identity, loadIdentity } from "@gannet/pki";
import { type RedisSecrets, reloadCertificates, restartSentinel } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";

/** What a daemon shows and trusts: SHA-256 of authorities, in lower-case hexadecimal digits. */
export interface CertificatesInUse {
  readonly trusted: readonly string[];
  /** Who issued what it shows. */
  readonly issuer: string;
}

export interface OwnServersParts {
  /** Holds their ca.pem, cert.pem and key.pem (libs/pki). */
  readonly tlsDir: string;
  readonly servers: MasterServers;
  readonly secrets: RedisSecrets;
  /** One sentinel of all is away at a time, and none while Redis has no primary. */
  readonly turn: MastersTurn;
  readonly logger: Logger;
}

/** Files may be changed by others than the master. */
const LOOK_MS = 60_000;
const RETRY_MS = 2_000;
const TURN_MS = 25_000;

export class OwnServers {
  readonly #parts: OwnServersParts;
  #taken: { readonly mark: string; readonly inUse: CertificatesInUse } | undefined;
  #woken = Promise.withResolvers<void>();
  #warned = "";

  constructor(parts: OwnServersParts) {
    this.#parts = parts;
  }

  /** What both servers use, as far as this process knows. */
  get inUse(): CertificatesInUse | undefined {
    return this.#taken?.inUse;
  }

  /** The files may have changed. */
  wake(): void {
    this.#woken.resolve();
  }

  /** Until `stop` is aborted. Never rejects. */
  async keep(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const isDone = await this.#look().catch((error: unknown) => this.#tell(error));
      const rest = delay(isDone ? LOOK_MS : RETRY_MS, undefined, { signal: stop, ref: false }).catch(() => undefined);
      await (isDone ? Promise.race([rest, this.#woken.promise]) : rest);
      this.#woken = Promise.withResolvers();
    }
  }

  /** @returns whether there is nothing left to do */
  async #look(): Promise<boolean> {
    const { tlsDir, servers, secrets, turn, logger } = this.#parts;
    const identity = await loadIdentity(tlsDir);
    const mark = markOf(identity);
    if (mark === this.#taken?.mark) return true;
    // Files that are there when a machine's daemons start are read by all of them. Sentinel tells its start in whole
    // seconds, of which the one that the files were written in counts then; later the files are changed while it runs.
    const lastMs = await lastChangeMs(tlsDir);
    const changedMs = this.#taken === undefined ? Math.floor(lastMs / 1000) * 1000 : lastMs;
    await reloadCertificates(servers.redis, secrets);
    const outcome = await turn.take(TURN_MS, () => restartSentinel(servers.sentinel, secrets, changedMs));
    if (outcome === undefined) return false;
    this.#taken = { mark, inUse: certificatesInUse(identity) };
    this.#warned = "";
    logger.info({ restarted: outcome.result }, "Redis and Sentinel have read their certificates");
    return true;
  }

  /** Once for each reason. */
  #tell(error: unknown): boolean {
    const reason = error instanceof Error ? error.message : String(error);
    if (reason !== this.#warned)
      this.#parts.logger[error instanceof Unavailable ? "warn" : "error"](
        { err: error },
        "Redis and Sentinel of this machine could not be told of their certificates; it is tried again",
      );
    this.#warned = reason;
    return false;
  }
}

export function certificatesInUse({ ca, cert }: Pick<Identity, "ca" | "cert">): CertificatesInUse {
  const authorities = certificatesIn(ca);
  const shown = new X509Certificate(cert);
  const issuer = authorities.find(({ publicKey }) => shown.verify(publicKey));
  return { trusted: authorities.map(fingerprintOf), issuer: issuer === undefined ? "" : fingerprintOf(issuer) };
}

function markOf({ ca, cert }: Identity): string {
  return createHash("sha256").update(ca).update("\0").update(cert).digest("hex");
}

/** When a file was last put there; its content may be older. */
async function lastChangeMs(dir: string): Promise<number> {
  const stats = await Promise.all(Object.values(IDENTITY_FILES).map((name) => stat(path.join(dir, name))));
  return Math.max(...stats.map(({ ctimeMs }) => ctimeMs));
}
