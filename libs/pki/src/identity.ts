/** What one daemon shows and trusts: its certificate and key, and the cluster's authority. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import { finishReplacement, type NewFile, replaceFiles } from "./private-files.ts";
import { certificatesIn } from "./signing.ts";

/** PEM, as node:tls takes them. */
export interface Identity {
  /** One authority, and a second one while the cluster changes from one to the other. */
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** The files of an identity below its folder. */
export const IDENTITY_FILES = { ca: "ca.pem", cert: "cert.pem", key: "key.pem" } as const;

const MODES = { ca: 0o644, cert: 0o644, key: 0o600 } as const;

/**
 * Read a daemon's identity and check that it can be used now, and by the daemon of a name where one is
 * given.
 * @throws ConfigurationError naming the folder and what is wrong with it
 */
export async function loadIdentity(dir: string, expected: { readonly name?: string } = {}): Promise<Identity> {
  await finishReplacement(dir);
  const [ca, cert, key] = await Promise.all([
    readPart(dir, IDENTITY_FILES.ca),
    readPart(dir, IDENTITY_FILES.cert),
    readPart(dir, IDENTITY_FILES.key),
  ]);
  const problem = problemOf({ ca, cert, key }) ?? nameProblem(cert, expected.name);
  if (problem !== undefined) throw new ConfigurationError(`The certificate in ${dir} cannot be used: ${problem}`);
  return { ca, cert, key };
}

/** Put parts of an identity in the place of those that are there: all of them, also when it is stopped in between. */
export async function installIdentity(
  dir: string,
  parts: Partial<Readonly<Record<keyof Identity, string | Buffer>>>,
): Promise<void> {
  const files: Record<string, NewFile> = {};
  for (const part of ["key", "cert", "ca"] as const) {
    const content = parts[part];
    if (content !== undefined) files[IDENTITY_FILES[part]] = { content, mode: MODES[part] };
  }
  await replaceFiles(dir, files);
}

/** Why an identity cannot be used now, or undefined when it can. */
export function problemOf(identity: Identity): string | undefined {
  try {
    const authorities = certificatesIn(identity.ca);
    const cert = new X509Certificate(identity.cert);
    if (!cert.checkPrivateKey(createPrivateKey(identity.key))) return "its key does not belong to it";
    if (!authorities.some((ca) => cert.verify(ca.publicKey))) return "it was issued by another authority";
    if (cert.validToDate.getTime() <= Date.now()) return `it expired on ${cert.validTo}`;
    if (cert.validFromDate.getTime() > Date.now()) return `it is valid only from ${cert.validFrom}; check the clock`;
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function nameProblem(cert: Buffer, name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const certificate = new X509Certificate(cert);
  if (certificate.checkHost(name, { subject: "never" }) !== undefined) return undefined;
  return `it is for ${certificate.subjectAltName ?? "no name"}, not for ${name}`;
}

async function readPart(dir: string, name: string): Promise<Buffer> {
  return readFile(path.join(dir, name)).catch((error: Error) => {
    throw new ConfigurationError(`The certificate in ${dir} cannot be read: ${error.message}`);
  });
}
