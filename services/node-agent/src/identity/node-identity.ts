/** What this node shows and trusts, on disk and in use, and how the cluster changes it. */
import { X509Certificate } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import {
  CERTIFICATE_USAGES,
  certificatesIn,
  createSigningRequest,
  fitsKey,
  hasSignedRevocations,
  IDENTITY_FILES,
  installIdentity,
  loadIdentity,
} from "@gannet/pki";
import { LiveIdentity } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import { replaceDurably } from "../durable-file.ts";
import { undefinedWhenMissing } from "../errno.ts";

export interface NodeIdentityParts {
  readonly nodeName: string;
  /** Holds ca.pem, cert.pem and key.pem (libs/pki). */
  readonly pkiDir: string;
  /** Told of authorities that are trusted from now on, before they are: what is kept under one's name is kept for it. */
  readonly onAuthorities?: (former: Buffer, authorities: Buffer) => Promise<void>;
  readonly logger: Logger;
}

/** Beside the identity's own files: the serial numbers of revoked certificates, a line each. */
export const REVOKED_FILE = "revoked";
/** The same, signed by an authority (X.509 CRL, PEM); missing where nothing is revoked. */
export const REVOCATION_LIST_FILE = "crl.pem";
/** The key for which a certificate was asked. */
const REQUESTED_KEY = "requested.key";
const MOST_AUTHORITIES = 4;
const MOST_REVOKED = 100_000;
const SERIAL = /^[0-9A-F]{1,40}$/i;

export interface Revocations {
  /** Serial numbers, in hexadecimal digits. */
  readonly revoked: readonly string[];
  /** {@link REVOCATION_LIST_FILE}; empty where nothing is revoked, or nobody can sign. */
  readonly revocationList: string;
}

export class NodeIdentity {
  /** In use by the agent's server. */
  readonly live: LiveIdentity;
  readonly #parts: NodeIdentityParts;
  /** The end of the last change: they are made one after another. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(parts: NodeIdentityParts, live: LiveIdentity) {
    this.#parts = parts;
    this.live = live;
  }

  /** @throws ConfigurationError when the identity cannot be used */
  static async open(parts: NodeIdentityParts): Promise<NodeIdentity> {
    const identity = await loadIdentity(parts.pkiDir, { name: parts.nodeName });
    const revoked = await readFile(path.join(parts.pkiDir, REVOKED_FILE), "utf8").catch(undefinedWhenMissing);
    return new NodeIdentity(parts, new LiveIdentity(identity, revoked?.split("\n").filter(Boolean)));
  }

  /**
   * Trust these authorities, less these certificates, from now on and after a restart.
   * @throws OpPrereqError (wrong_input)
   */
  setTrust(authorities: readonly string[], { revoked, revocationList }: Revocations): Promise<void> {
    return this.#inTurn(async () => {
      const bundle = this.#checkedBundle(authorities);
      if (revocationList !== "") await checkList(bundle, revocationList);
      if (revoked.length > MOST_REVOKED || revoked.some((serial) => !SERIAL.test(serial)))
        throw new OpPrereqError(
          "The list of revoked certificates is too long, or holds no serial numbers",
          "wrong_input",
        );
      const { identity } = this.live;
      if (!bundle.equals(identity.ca)) {
        await this.#parts.onAuthorities?.(identity.ca, bundle);
        await installIdentity(this.#parts.pkiDir, { ca: bundle });
        this.live.change({ ...identity, ca: bundle });
        this.#parts.logger.info({ authorities: authorities.length }, "the cluster's authorities have changed");
      }
      const wanted = new Set(revoked.map((serial) => serial.toUpperCase()));
      if (wanted.symmetricDifference(this.live.revoked).size > 0) {
        // Refused before it is on disk: a crash in between is made good by the leader, who tells it again.
        this.live.revoke(wanted);
        await replaceDurably(path.join(this.#parts.pkiDir, REVOKED_FILE), [...wanted, ""].join("\n"));
        this.#parts.logger.info({ revoked: wanted.size }, "the list of revoked certificates has changed");
      }
      await this.#keepList(revocationList, revoked);
    });
  }

  /** @returns PKCS #10, PEM, for a new key that stays here */
  request(): Promise<string> {
    return this.#inTurn(async () => {
      const { key, csr } = await createSigningRequest();
      await replaceDurably(path.join(this.#parts.pkiDir, REQUESTED_KEY), key);
      return csr;
    });
  }

  /**
   * Use a certificate for the key of the last request.
   * @throws OpPrereqError (wrong_input) when it is not for that key, this node, or of an authority that is trusted
   */
  install(pem: string): Promise<void> {
    return this.#inTurn(async () => {
      const certificate = parsed(pem);
      const { identity } = this.live;
      if (new X509Certificate(identity.cert).fingerprint256 === certificate.fingerprint256) return;
      const file = path.join(this.#parts.pkiDir, REQUESTED_KEY);
      const key = await readFile(file).catch(undefinedWhenMissing);
      if (key === undefined || !fitsKey(certificate, key)) throw unfit("it is not for the key that this node has made");
      this.#checkIsOwn(certificate);
      await installIdentity(this.#parts.pkiDir, { cert: pem, key });
      await rm(file, { force: true });
      this.live.change({ ...identity, cert: Buffer.from(pem), key });
      this.#parts.logger.info({ serial: certificate.serialNumber, until: certificate.validTo }, "certificate renewed");
    });
  }

  /** Destroy the key, and answer nobody any more. */
  forget(): Promise<void> {
    return this.#inTurn(async () => {
      for (const name of [IDENTITY_FILES.key, IDENTITY_FILES.cert, REQUESTED_KEY])
        await rm(path.join(this.#parts.pkiDir, name), { force: true });
      this.live.retire(`Node ${this.#parts.nodeName} was removed from the cluster; it joins anew with a token`);
      this.#parts.logger.warn(
        "this node was removed from its cluster: its key is destroyed; gannet-node join takes it back",
      );
    });
  }

  /** What a program is given that checks certificates by itself; it reads the file when it begins to. */
  async #keepList(list: string, revoked: readonly string[]): Promise<void> {
    const file = path.join(this.#parts.pkiDir, REVOCATION_LIST_FILE);
    if (list === "") {
      if (revoked.length === 0) await rm(file, { force: true });
      return;
    }
    if ((await readFile(file, "utf8").catch(undefinedWhenMissing)) !== list) await replaceDurably(file, list);
  }

  #checkedBundle(authorities: readonly string[]): Buffer {
    const read = authorities.map(parsed);
    if (read.length === 0 || read.length > MOST_AUTHORITIES || read.some(({ ca }) => !ca))
      throw new OpPrereqError("These are no authorities of a cluster", "wrong_input");
    const own = new X509Certificate(this.live.identity.cert);
    if (!read.some(({ publicKey }) => own.verify(publicKey)))
      throw new OpPrereqError("None of these authorities has issued this node's certificate", "wrong_input");
    return Buffer.from(read.join(""));
  }

  #checkIsOwn(certificate: X509Certificate): void {
    const { nodeName } = this.#parts;
    if (certificate.checkHost(nodeName, { subject: "never" }) === undefined) throw unfit(`it is not for ${nodeName}`);
    const isNodes = certificate.subject.split("\n").includes(`OU=${CERTIFICATE_USAGES.node.unit}`);
    const authorities = certificatesIn(this.live.identity.ca);
    if (!isNodes || !authorities.some(({ publicKey }) => certificate.verify(publicKey)))
      throw unfit("it is not a node's, of an authority that this node trusts");
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#turn.then(change);
    this.#turn = changed.catch(() => undefined);
    return changed;
  }
}

/** @throws OpPrereqError (wrong_input) */
async function checkList(authorities: Buffer, list: string): Promise<void> {
  try {
    for (const authority of certificatesIn(authorities)) if (await hasSignedRevocations(authority, list)) return;
  } catch (cause) {
    throw new OpPrereqError("The signed list of revoked certificates cannot be read", "wrong_input", { cause });
  }
  throw new OpPrereqError("The list of revoked certificates is signed by none of these authorities", "wrong_input");
}

function parsed(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw unfit(error instanceof Error ? error.message : String(error));
  }
}

function unfit(reason: string): OpPrereqError {
  return new OpPrereqError(`The certificate cannot be used: ${reason}`, "wrong_input");
}
