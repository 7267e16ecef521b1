/** Certificates of daemons, issued by the cluster's authority. */
import { createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { isIP } from "node:net";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import type { CertificateAuthority } from "./certificate-authority.ts";
import { IDENTITY_FILES, type Identity, installIdentity, problemOf } from "./identity.ts";
import { finishReplacement } from "./private-files.ts";
import {
  COMMON_NAME_CHARS,
  certificatesIn,
  createSigningRequest,
  DAY_MS,
  type ExtendedKeyUsage,
  requestedKey,
  signCertificate,
  signingKey,
  USAGE_OIDS,
} from "./signing.ts";

/**
 * What a certificate may be used for. The organizational unit names the daemon's role, which the other side
 * checks; the extended key usage makes TLS itself refuse the master's and the remote API's where they do not belong.
 */
export const CERTIFICATE_USAGES = {
  /** A node: its agent serves calls, and it takes guests and disks from other nodes and sends them there. */
  node: { unit: "node", extendedKeyUsages: ["serverAuth", "clientAuth"] },
  /** The master towards agents: makes calls. */
  master: { unit: "master", extendedKeyUsages: ["clientAuth"] },
  /** The remote API's HTTPS server. */
  rapi: { unit: "rapi", extendedKeyUsages: ["serverAuth"] },
  /** Redis and Sentinel: they serve masters and each other, and connect to each other. */
  redis: { unit: "redis", extendedKeyUsages: ["serverAuth", "clientAuth"] },
} as const satisfies Record<string, { unit: string; extendedKeyUsages: readonly ExtendedKeyUsage[] }>;
export type CertificateUsage = keyof typeof CERTIFICATE_USAGES;

/** For whom a certificate is. */
export interface CertificateSubject {
  /** The daemon's name: its common name and its first alternative name. */
  readonly name: string;
  /** Further host names and IP addresses by which it is reached. */
  readonly sans: readonly string[];
  readonly usage: CertificateUsage;
}

export interface CertificateRequest extends CertificateSubject {
  readonly ca: CertificateAuthority;
  /** Receives `ca.pem`, `cert.pem` and `key.pem`. */
  readonly dir: string;
  /** PEM of the authorities that its owner trusts; the one that issues and those that are trusted there when absent. */
  readonly trusted?: string;
}

/** A certificate that was issued. */
export interface IssuedCertificate {
  /** PEM. */
  readonly certificate: string;
  /** In upper-case hexadecimal digits, as node:tls and node:crypto show it. */
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly notAfterMs: number;
}

/** As long as Ganeti's; the authority's own end comes first. */
const VALID_DAYS = 5 * 365;
/** A certificate that ends sooner is issued anew. */
export const RENEW_DAYS = 90;
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/**
 * Give a daemon its certificate and key. What is there and fits the request is kept; a request that changed, a
 * certificate that ends within 90 days and a damaged one are replaced by a new pair.
 * @returns whether anything has changed there
 * @throws ConfigurationError when the name is no host name
 */
export async function issueCertificate(request: CertificateRequest): Promise<boolean> {
  const names = subjectNames(request);
  await mkdir(request.dir, { recursive: true, mode: 0o700 });
  await finishReplacement(request.dir);
  const before = await readIdentity(request.dir);
  const trusted = await trustedBy(request, before);
  if (before !== undefined && isCurrent(request, names, { ...before, ca: trusted })) {
    if (before.ca.equals(trusted)) return false;
    await installIdentity(request.dir, { ca: trusted });
    return true;
  }
  const { key, csr } = await createSigningRequest();
  const { certificate } = await sign(request.ca, await requestedKey(csr), request);
  await installIdentity(request.dir, { ca: trusted, cert: certificate, key });
  return true;
}

/**
 * Certify the key of a request (PKCS #10) under the name that the signer gives; what the request says of itself does not
 * count.
 * @throws OpPrereqError (wrong_input) when the request cannot be used; ConfigurationError when a name is no host name
 */
export async function signRequest(
  ca: CertificateAuthority,
  csr: string,
  subject: CertificateSubject,
): Promise<IssuedCertificate> {
  return await sign(ca, await requestedKey(csr), subject);
}

async function sign(
  ca: CertificateAuthority,
  owner: KeyObject,
  subject: CertificateSubject,
): Promise<IssuedCertificate> {
  const { unit, extendedKeyUsages } = CERTIFICATE_USAGES[subject.usage];
  const signer = { certificate: ca.certificate, key: signingKey(await readFile(ca.keyFile)) };
  const certificate = await signCertificate(signer, owner, {
    subject: [["OU", unit], ...commonName(subject.name)],
    names: subjectNames(subject),
    extendedKeyUsages,
    validDays: VALID_DAYS,
  });
  const { serialNumber: serial, validToDate } = new X509Certificate(certificate);
  return { certificate, serial, notAfterMs: validToDate.getTime() };
}

/** Whether a certificate is for the key of this PEM. */
export function fitsKey(certificate: X509Certificate, key: string | Buffer): boolean {
  const spki = (of: KeyObject) => of.export({ type: "spki", format: "der" });
  return spki(certificate.publicKey).equals(spki(createPublicKey(key)));
}

/** Host names and IP addresses of a certificate. */
export function namesOf(cert: X509Certificate): readonly string[] {
  // Node shows them as `DNS:a.test, IP Address:10.0.0.1`.
  return (cert.subjectAltName ?? "").split(", ").map((name) => name.replace(/^(DNS|IP Address):/, ""));
}

function subjectNames({ name, sans }: CertificateSubject): readonly string[] {
  const names = [...new Set([name, ...sans])];
  const wrong = names.find((each) => isIP(each) === 0 && !HOST_NAME.test(each));
  if (wrong !== undefined || isIP(name) !== 0)
    throw new ConfigurationError(`No certificate can be issued for ${JSON.stringify(wrong ?? name)}: not a host name`);
  return names;
}

function commonName(name: string): readonly (readonly ["CN", string])[] {
  return name.length <= COMMON_NAME_CHARS ? [["CN", name]] : [];
}

/** While the authority is changed, both are trusted: whoever has both keeps both. */
async function trustedBy({ ca, trusted }: CertificateRequest, before: Identity | undefined): Promise<Buffer> {
  if (trusted !== undefined) return Buffer.from(trusted);
  return before !== undefined && trusts(before.ca, ca.certificate) ? before.ca : await readFile(ca.certFile);
}

function trusts(bundle: Buffer, { fingerprint256 }: X509Certificate): boolean {
  try {
    return certificatesIn(bundle).some((each) => each.fingerprint256 === fingerprint256);
  } catch {
    return false;
  }
}

function isCurrent(request: CertificateRequest, names: readonly string[], identity: Identity): boolean {
  if (problemOf(identity) !== undefined) return false;
  const cert = new X509Certificate(identity.cert);
  const usage = CERTIFICATE_USAGES[request.usage];
  const subject = [`OU=${usage.unit}`, ...commonName(request.name).map(([field, value]) => `${field}=${value}`)];
  return (
    cert.verify(request.ca.certificate.publicKey) &&
    cert.subject === subject.join("\n") &&
    isSameSet(
      cert.keyUsage,
      usage.extendedKeyUsages.map((name) => USAGE_OIDS[name]),
    ) &&
    isSameSet(namesOf(cert), names) &&
    !endsSoon(cert, request.ca)
  );
}

/** Whether a certificate is to be issued anew: it ends within 90 days, and a new one would last longer. */
export function endsSoon(cert: Pick<X509Certificate, "validToDate">, ca: CertificateAuthority): boolean {
  const caEndsMs = ca.certificate.validToDate.getTime();
  const leftDays = (cert.validToDate.getTime() - Date.now()) / DAY_MS;
  const caLeftDays = Math.floor((caEndsMs - Date.now()) / DAY_MS);
  return leftDays <= Math.min(RENEW_DAYS, Math.max(1, Math.min(VALID_DAYS, caLeftDays)) - 1);
}

async function readIdentity(dir: string): Promise<Identity | undefined> {
  const read = (name: string) => readFile(path.join(dir, name)).catch(() => undefined);
  const [ca, cert, key] = await Promise.all([
    read(IDENTITY_FILES.ca),
    read(IDENTITY_FILES.cert),
    read(IDENTITY_FILES.key),
  ]);
  return ca === undefined || cert === undefined || key === undefined ? undefined : { ca, cert, key };
}

function isSameSet(some: readonly string[], others: readonly string[]): boolean {
  const normalize = (names: readonly string[]) => [...new Set(names.map(canonicalName))].sort().join(" ");
  return normalize(some) === normalize(others);
}

/** IPv6 addresses are compared in one spelling. */
function canonicalName(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]`).hostname : name.toLowerCase();
}
