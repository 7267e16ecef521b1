/** The cluster's certificate authority on this master: the files, and how they follow what the configuration says. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { OpPrereqError } from "@gannet/errors";
import type { Cluster } from "@gannet/objects";
import { type CertificateAuthority, findCa, fingerprintOf, newAuthority, storeCa } from "@gannet/pki";
import type { Logger } from "@gannet/telemetry";
import { openKey, sealKey } from "./sealed-key.ts";

type Authorities = NonNullable<Cluster["authority"]>;

export class ClusterAuthority {
  readonly #dir: string | undefined;
  readonly #logger: Logger;
  #ca: CertificateAuthority | undefined;

  private constructor(dir: string | undefined, ca: CertificateAuthority | undefined, logger: Logger) {
    this.#dir = dir;
    this.#ca = ca;
    this.#logger = logger;
  }

  /**
   * @param dir - holds ca.pem and ca.key (libs/pki); undefined on a master that issues nothing
   * @throws ConfigurationError when what is there cannot be used
   */
  static async open(dir: string | undefined, logger: Logger): Promise<ClusterAuthority> {
    return new ClusterAuthority(dir, dir === undefined ? undefined : await findCa(dir), logger);
  }

  /** Whether this master can issue certificates. */
  get isHere(): boolean {
    return this.#ca !== undefined;
  }

  /** @throws OpPrereqError (environment_error) where it is not */
  get issuing(): CertificateAuthority {
    if (this.#ca !== undefined) return this.#ca;
    throw new OpPrereqError(
      "This master has not the key of the cluster's authority (caDir of its configuration): certificates are issued by one that has",
      "environment_error",
    );
  }

  /** Have the authority that the configuration says issues. @throws ConfigurationError when its key cannot be opened */
  async follow({ authority }: Pick<Cluster, "authority">): Promise<void> {
    if (this.#ca === undefined || this.#dir === undefined || authority === undefined) return;
    if (fingerprintOf(this.#ca.certificate) === authority.issuer) return;
    const [certificate = ""] = authority.trusted;
    if (fingerprintOf(new X509Certificate(certificate)) !== authority.issuer) return;
    const key = openKey(authority.sealedKey, await readFile(this.#ca.keyFile, "utf8"));
    this.#ca = await storeCa(this.#dir, { certificate, key });
    this.#logger.info({ issuer: authority.issuer }, "the cluster's authority has changed");
  }

  /** What the configuration is to say first when the authority changes: there is a new one, and the old one issues. */
  async successor(): Promise<Authorities> {
    const { certificate, keyFile } = this.issuing;
    const next = await newAuthority();
    return {
      trusted: [next.certificate, String(certificate)],
      issuer: fingerprintOf(certificate),
      sealedKey: sealKey(next.key, await readFile(keyFile, "utf8")),
    };
  }
}

/** How far the cluster is with changing its authority. */
export type ChangePhase = "none" | "trusting" | "issuing";

export function changePhase({ authority }: Pick<Cluster, "authority">): ChangePhase {
  const [newest, ...others] = authority?.trusted ?? [];
  if (newest === undefined || others.length === 0) return "none";
  return fingerprintOf(new X509Certificate(newest)) === authority?.issuer ? "issuing" : "trusting";
}
