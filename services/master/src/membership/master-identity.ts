/**
 * The certificates of this machine's master: towards agents, of its remote API, of its Redis. The master issues them
 * itself, renews them in time, and follows a change of the cluster's authority.
 */
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigStore } from "@gannet/config-store";
import type { Cluster } from "@gannet/objects";
import { JOIN_SERVER_NAME } from "@gannet/opcodes";
import {
  type CertificateUsage,
  certificatesIn,
  createSigningRequest,
  fingerprintOf,
  IDENTITY_FILES,
  installIdentity,
  issueCertificate,
  loadIdentity,
  namesOf,
  signRequest,
} from "@gannet/pki";
import { LiveIdentity } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { MasterConfiguration } from "../configuration.ts";
import type { ClusterAuthority } from "./cluster-authority.ts";
import type { OwnServers } from "./own-servers.ts";

/** Certificates end years from now: between two looks at how long they still have. */
const LOOK_MS = 6 * 60 * 60 * 1000;

/** A certificate with its authority's above it, and its key: PEM. */
interface ShownCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface MasterIdentityParts {
  readonly authority: ClusterAuthority;
  /** Of the master towards agents. */
  readonly dir: string;
  /** Of other daemons on this machine, where they have certificates of the cluster's authority. */
  readonly others: readonly { readonly dir: string; readonly usage: CertificateUsage }[];
  readonly logger: Logger;
}

export class MasterIdentity {
  /** In use by the connections to agents. */
  readonly live: LiveIdentity;
  readonly #parts: MasterIdentityParts;
  #joinTls: { readonly issuer: string; readonly tls: ShownCertificate } | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(parts: MasterIdentityParts, live: LiveIdentity) {
    this.#parts = parts;
    this.live = live;
  }

  /** @throws ConfigurationError when the master's own cannot be used */
  static async open(parts: MasterIdentityParts): Promise<MasterIdentity> {
    return new MasterIdentity(parts, new LiveIdentity(await loadIdentity(parts.dir)));
  }

  /** PEM of the authorities that the cluster trusts, the newest first. */
  trusted({ authority }: Pick<Cluster, "authority">): readonly string[] {
    return authority?.trusted ?? certificatesIn(this.live.identity.ca).map(String);
  }

  /** For connections that ask for {@link JOIN_SERVER_NAME}; undefined where nothing can be issued. */
  get joinTls(): ShownCertificate | undefined {
    return this.#joinTls?.tls;
  }

  /** Do what the configuration says, and renew what ends soon. One after another. @throws what kept it from it */
  follow(cluster: Pick<Cluster, "authority" | "revokedCertificates">): Promise<void> {
    const followed = this.#turn.then(() => this.#follow(cluster));
    this.#turn = followed.catch(() => undefined);
    return followed;
  }

  async #follow(cluster: Pick<Cluster, "authority" | "revokedCertificates">): Promise<void> {
    this.live.revoke((cluster.revokedCertificates ?? []).map(({ serial }) => serial));
    const { authority, dir, others } = this.#parts;
    await authority.follow(cluster);
    const trusted = this.trusted(cluster).join("");
    if (await this.#keep(dir, "master", trusted)) this.live.change(await loadIdentity(dir));
    for (const other of others)
      await this.#keep(other.dir, other.usage, trusted).catch((error: unknown) =>
        this.#parts.logger.warn({ err: error, dir: other.dir }, "a certificate of this machine cannot be renewed"),
      );
    await this.#issueForJoiners();
  }

  /** @returns whether anything of it has changed */
  async #keep(dir: string, usage: CertificateUsage, trusted: string): Promise<boolean> {
    const { ca, cert } = await loadIdentity(dir);
    const { authority, logger } = this.#parts;
    if (!authority.isHere) {
      if (
        ca.toString() === trusted ||
        !certificatesIn(trusted).some((each) => new X509Certificate(cert).verify(each.publicKey))
      )
        return false;
      await installIdentity(dir, { ca: trusted });
      return true;
    }
    const [name = "", ...sans] = namesOf(new X509Certificate(cert));
    const isNew = await issueCertificate({ ca: authority.issuing, name, sans, usage, dir, trusted });
    if (isNew) logger.info({ dir, usage, name }, "certificate issued");
    return isNew;
  }

  async #issueForJoiners(): Promise<void> {
    const { authority } = this.#parts;
    if (!authority.isHere) return;
    const ca = authority.issuing;
    const issuer = fingerprintOf(ca.certificate);
    if (this.#joinTls?.issuer === issuer) return;
    const { key, csr } = await createSigningRequest();
    const { certificate } = await signRequest(ca, csr, { name: JOIN_SERVER_NAME, sans: [], usage: "rapi" });
    this.#joinTls = { issuer, tls: { cert: certificate + String(ca.certificate), key } };
  }
}

/** The identities of this machine's master, and of what belongs to it, by its configuration. */
export function ownIdentities({
  identityDir,
  redisTlsDir,
  rapi,
}: MasterConfiguration): Pick<MasterIdentityParts, "dir" | "others"> {
  const rapiDir = path.dirname(rapi.certificateFile);
  const isIdentity = [rapi.certificateFile, rapi.keyFile].every(
    (file, index) => file === path.join(rapiDir, index === 0 ? IDENTITY_FILES.cert : IDENTITY_FILES.key),
  );
  return {
    dir: identityDir,
    others: [
      // One of the operator's has no authority beside it.
      ...(isIdentity && existsSync(path.join(rapiDir, IDENTITY_FILES.ca))
        ? [{ dir: rapiDir, usage: "rapi" } as const]
        : []),
      ...(redisTlsDir === undefined ? [] : [{ dir: redisTlsDir, usage: "redis" } as const]),
    ],
  };
}

/** Follow the configuration, and the calendar, until `stop`. Never rejects. */
export async function keepMasterIdentity(
  parts: {
    readonly identity: MasterIdentity;
    readonly ownServers: OwnServers | undefined;
    readonly configStore: ConfigStore;
    readonly logger: Logger;
  },
  stop: AbortSignal,
): Promise<void> {
  const { identity, ownServers, configStore, logger } = parts;
  const follow = async () => {
    await identity.follow(configStore.view.cluster).catch((error: unknown) => {
      logger.error({ err: error }, "the master's certificates could not be looked after; it is tried again");
    });
    ownServers?.wake();
  };
  const unfollow = configStore.onChange((_view, changed) => {
    if (changed.some(({ kind }) => kind === "cluster")) void follow();
  });
  while (!stop.aborted) {
    await follow();
    await delay(LOOK_MS, undefined, { signal: stop, ref: false }).catch(() => undefined);
  }
  unfollow();
}
