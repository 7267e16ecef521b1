/** Keys of this node for single transfers, each with a self-signed certificate (Ganeti: x509_cert_create). */
import { randomBytes, X509Certificate } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { createSelfSignedCertificate } from "@gannet/pki";
import { undefinedWhenMissing } from "../errno.ts";

export interface TransferKey {
  readonly keyFile: string;
  readonly certFile: string;
}

/**
 * By which Ganeti's socat knows any node; a later Ganeti asks for the node's own name instead. Without it a Ganeti that
 * sends here refuses the connection.
 */
const GANETI_COMMON_NAME = "ganeti.example.com";
const NAME = /^x509-[0-9a-f]{16}$/;

export class TransferKeys {
  readonly #folder: string;
  readonly #nodeName: string;

  constructor(parts: { readonly folder: string; readonly nodeName: string }) {
    this.#folder = parts.folder;
    this.#nodeName = parts.nodeName;
  }

  async create(validitySeconds: number): Promise<{ readonly name: string; readonly pem: string }> {
    const name = `x509-${randomBytes(8).toString("hex")}`;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const pem = await createSelfSignedCertificate({
      commonName: GANETI_COMMON_NAME,
      alternativeNames: [this.#nodeName],
      validitySeconds,
      dir: path.join(this.#folder, name),
    });
    return { name, pem };
  }

  /** @throws OpPrereqError (unknown_entity) */
  async find(name: string): Promise<TransferKey> {
    const dir = this.#dirOf(name);
    if ((await certificateIn(dir)) === undefined)
      throw new OpPrereqError(`This node has no certificate ${name}`, "unknown_entity");
    return { keyFile: path.join(dir, "key.pem"), certFile: path.join(dir, "cert.pem") };
  }

  async remove(name: string): Promise<void> {
    await rm(this.#dirOf(name), { recursive: true, force: true });
  }

  /** Those that have expired, and what a crash left half made. */
  async removeExpired(): Promise<void> {
    for (const name of (await readdir(this.#folder).catch(undefinedWhenMissing)) ?? []) {
      const certificate = await certificateIn(path.join(this.#folder, name));
      if (certificate === undefined || certificate.validToDate.getTime() <= Date.now())
        await rm(path.join(this.#folder, name), { recursive: true, force: true });
    }
  }

  #dirOf(name: string): string {
    if (!NAME.test(name))
      throw new OpPrereqError(`${JSON.stringify(name.slice(0, 80))} is not the name of a certificate`, "wrong_input");
    return path.join(this.#folder, name);
  }
}

async function certificateIn(dir: string): Promise<X509Certificate | undefined> {
  const pem = await readFile(path.join(dir, "cert.pem")).catch(undefinedWhenMissing);
  return pem === undefined ? undefined : new X509Certificate(pem);
}
