/** The cluster's one certificate authority: everything that talks to anything inside a cluster trusts only it. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import { finishReplacement, replaceFiles } from "./private-files.ts";
import { CA_DAYS, createAuthority, signingKey, signRevocations } from "./signing.ts";

const FILES = { cert: "ca.pem", key: "ca.key" } as const;

export interface CertificateAuthority {
  /** The authority's certificate, readable by all. */
  readonly certFile: string;
  /** Its private key, mode 0600; stays on the machines that issue. */
  readonly keyFile: string;
  readonly certificate: X509Certificate;
}

/** An authority as it is handed from one place to another, PEM. */
export interface AuthorityPair {
  readonly certificate: string;
  readonly key: string;
}

/**
 * The authority kept in `dir`, made if there is none. One that is there is kept as it is, always: replacing it
 * would cut off every node.
 * @throws ConfigurationError when what is there is incomplete, damaged or expired
 */
export async function createCa(options: { readonly dir: string }): Promise<CertificateAuthority> {
  const there = await findCa(options.dir);
  if (there !== undefined) return there;
  return await storeCa(options.dir, await newAuthority());
}

/**
 * The authority kept in `dir`, if there is one.
 * @throws ConfigurationError when what is there is incomplete, damaged or expired
 */
export async function findCa(dir: string): Promise<CertificateAuthority | undefined> {
  await finishReplacement(dir);
  const files = filesIn(dir);
  const [cert, key] = await Promise.all([readIfThere(files.certFile), readIfThere(files.keyFile)]);
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined)
    throw new ConfigurationError(
      `The certificate authority in ${dir} is incomplete: ${cert === undefined ? "ca.pem" : "ca.key"} is missing; restore it from a backup`,
    );
  return { ...files, certificate: checkCa(dir, cert, key) };
}

/** An authority that is nowhere yet. */
export async function newAuthority(): Promise<AuthorityPair> {
  return await createAuthority(
    [
      ["OU", "authority"],
      ["CN", "Gannet cluster authority"],
    ],
    CA_DAYS,
  );
}

/**
 * Keep an authority in `dir`, in the place of the one that is there.
 * @throws ConfigurationError when its parts do not fit each other
 */
export async function storeCa(dir: string, { certificate, key }: AuthorityPair): Promise<CertificateAuthority> {
  const checked = checkCa(dir, Buffer.from(certificate), Buffer.from(key));
  await replaceFiles(dir, {
    [FILES.key]: { content: key, mode: 0o600 },
    [FILES.cert]: { content: certificate, mode: 0o644 },
  });
  return { ...filesIn(dir), certificate: checked };
}

/**
 * The authority's list of revoked certificates, for programs that look at nothing else (qemu's), PEM.
 * @param serials - in hexadecimal digits
 */
export async function revocationList(ca: CertificateAuthority, serials: readonly string[]): Promise<string> {
  return await signRevocations({ certificate: ca.certificate, key: signingKey(await readFile(ca.keyFile)) }, serials);
}

function filesIn(dir: string): { readonly certFile: string; readonly keyFile: string } {
  return { certFile: path.join(dir, FILES.cert), keyFile: path.join(dir, FILES.key) };
}

function checkCa(dir: string, cert: Buffer, key: Buffer): X509Certificate {
  const certificate = parse(dir, () => new X509Certificate(cert));
  const privateKey = parse(dir, () => signingKey(key));
  if (!certificate.ca || !certificate.checkPrivateKey(privateKey))
    throw new ConfigurationError(
      `The certificate authority in ${dir} is damaged: its key and certificate do not match`,
    );
  if (certificate.validToDate.getTime() <= Date.now())
    throw new ConfigurationError(`The certificate authority in ${dir} expired on ${certificate.validTo}`);
  return certificate;
}

function parse<T>(dir: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new ConfigurationError(`The certificate authority in ${dir} is damaged: ${String(error)}`);
  }
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}
