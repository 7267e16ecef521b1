/** Certificates of daemons, issued by the cluster's authority. */
import { X509Certificate } from "node:crypto";
import { copyFile, mkdir, readFile, rename } from "node:fs/promises";
import { isIP } from "node:net";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { CertificateAuthority } from "./certificate-authority.ts";
import { IDENTITY_FILES, type Identity, problemOf } from "./identity.ts";
import { configuration, inPrivateFolder, NEW_KEY, openssl, randomSerial, seal, sync, writePrivate } from "./openssl.ts";

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
} as const satisfies Record<string, { unit: string; extendedKeyUsages: readonly (keyof typeof USAGE_OIDS)[] }>;
export type CertificateUsage = keyof typeof CERTIFICATE_USAGES;

export interface CertificateRequest {
  readonly ca: CertificateAuthority;
  /** The daemon's name: its common name and its first alternative name. */
  readonly name: string;
  /** Further host names and IP addresses by which it is reached. */
  readonly sans: readonly string[];
  readonly usage: CertificateUsage;
  /** Receives `ca.pem`, `cert.pem` and `key.pem`. */
  readonly dir: string;
  readonly runner: CommandRunner;
}

/** As certificates name them (RFC 5280, 4.2.1.12). */
const USAGE_OIDS = { serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2" } as const;
/** As long as Ganeti's; the authority's own end comes first. */
const VALID_DAYS = 5 * 365;
/** A certificate that ends sooner is issued anew. */
const RENEW_DAYS = 90;
const DAY_MS = 24 * 60 * 60 * 1000;
/** The longest common name X.509 allows (RFC 5280, ub-common-name). A longer name stands in the SANs alone. */
const COMMON_NAME_CHARS = 64;
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/**
 * Give a daemon its certificate and key. What is there and fits the request is kept; a request that changed, a
 * certificate that ends within 90 days and a damaged one are replaced by a new pair.
 * @throws ConfigurationError when the name is no host name
 */
export async function issueCertificate(request: CertificateRequest): Promise<void> {
  const names = subjectNames(request);
  await mkdir(request.dir, { recursive: true, mode: 0o700 });
  if (await isCurrent(request, names)) return;
  await inPrivateFolder(path.join(request.dir, ".new-"), async (folder) => {
    const made = {
      config: path.join(folder, "openssl.cnf"),
      request: path.join(folder, "request.pem"),
      ca: path.join(folder, IDENTITY_FILES.ca),
      cert: path.join(folder, IDENTITY_FILES.cert),
      key: path.join(folder, IDENTITY_FILES.key),
    };
    await writePrivate(made.config, requestConfiguration(request, names));
    await openssl(request.runner, [
      ...["req", "-new", "-config", made.config, ...NEW_KEY, "-sha256"],
      ...["-keyout", made.key, "-out", made.request],
    ]);
    await openssl(request.runner, [
      ...["x509", "-req", "-in", made.request, "-CA", request.ca.certFile, "-CAkey", request.ca.keyFile, "-sha256"],
      ...["-days", String(validDays(request.ca)), "-set_serial", randomSerial()],
      ...["-extfile", made.config, "-extensions", "extensions", "-out", made.cert],
    ]);
    await copyFile(request.ca.certFile, made.ca);
    await seal(made.ca, 0o644);
    await seal(made.cert, 0o644);
    await seal(made.key, 0o600);
    // Stopped in between, the parts do not fit each other and the next call issues again.
    for (const part of ["key", "cert", "ca"] as const)
      await rename(made[part], path.join(request.dir, IDENTITY_FILES[part]));
    await sync(request.dir);
  });
}

function subjectNames(request: CertificateRequest): readonly string[] {
  const names = [...new Set([request.name, ...request.sans])];
  const wrong = names.find((name) => isIP(name) === 0 && !HOST_NAME.test(name));
  if (wrong !== undefined || isIP(request.name) !== 0)
    throw new ConfigurationError(
      `No certificate can be issued for ${JSON.stringify(wrong ?? request.name)}: not a host name`,
    );
  return names;
}

function requestConfiguration(request: CertificateRequest, names: readonly string[]): string {
  const usage = CERTIFICATE_USAGES[request.usage];
  return configuration({
    subject: [["OU", usage.unit], ...commonName(request.name)],
    extensions: {
      basicConstraints: "critical, CA:FALSE",
      keyUsage: "critical, digitalSignature",
      extendedKeyUsage: usage.extendedKeyUsages.join(", "),
      subjectKeyIdentifier: "hash",
      authorityKeyIdentifier: "keyid",
      subjectAltName: names.map((name) => `${isIP(name) === 0 ? "DNS" : "IP"}:${name}`).join(", "),
    },
  });
}

function commonName(name: string): readonly (readonly [string, string])[] {
  return name.length <= COMMON_NAME_CHARS ? [["CN", name]] : [];
}

function validDays(ca: CertificateAuthority): number {
  return Math.max(1, Math.min(VALID_DAYS, Math.floor((ca.certificate.validToDate.getTime() - Date.now()) / DAY_MS)));
}

async function isCurrent(request: CertificateRequest, names: readonly string[]): Promise<boolean> {
  const identity = await readIdentity(request.dir);
  if (identity === undefined || problemOf(identity) !== undefined) return false;
  if (!identity.ca.equals(await readFile(request.ca.certFile))) return false;
  const cert = new X509Certificate(identity.cert);
  const usage = CERTIFICATE_USAGES[request.usage];
  const subject = [`OU=${usage.unit}`, ...commonName(request.name).map(([field, value]) => `${field}=${value}`)];
  return (
    cert.subject === subject.join("\n") &&
    isSameSet(
      cert.keyUsage,
      usage.extendedKeyUsages.map((name) => USAGE_OIDS[name]),
    ) &&
    isSameSet(alternativeNames(cert), names) &&
    cert.validToDate.getTime() - Date.now() > Math.min(RENEW_DAYS, validDays(request.ca) - 1) * DAY_MS
  );
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

/** Node shows them as `DNS:a.test, IP Address:10.0.0.1`. */
function alternativeNames(cert: X509Certificate): readonly string[] {
  return (cert.subjectAltName ?? "").split(", ").map((name) => name.replace(/^(DNS|IP Address):/, ""));
}

function isSameSet(some: readonly string[], others: readonly string[]): boolean {
  const normalize = (names: readonly string[]) => [...new Set(names.map(canonicalName))].sort().join(" ");
  return normalize(some) === normalize(others);
}

/** IPv6 addresses are compared in one spelling. */
function canonicalName(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]`).hostname : name.toLowerCase();
}
