/** Keys, requests and signatures, made in this process; nothing here touches a file. */
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import { ConfigurationError, OpPrereqError } from "@gannet/errors";
import { loadX509 } from "./x509-library.ts";

/** As certificates name them (RFC 5280, 4.2.1.12). */
export const USAGE_OIDS = { serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2" } as const;
export type ExtendedKeyUsage = keyof typeof USAGE_OIDS;

/** PEM, unencrypted: a key's protection is its file's mode. */
export interface KeyAndRequest {
  readonly key: string;
  /** PKCS #10. */
  readonly csr: string;
}

/** What a certificate says, and for how long. */
export interface CertificateContent {
  readonly subject: readonly (readonly [field: "OU" | "CN", value: string])[];
  /** Host names and IP addresses. */
  readonly names: readonly string[];
  readonly extendedKeyUsages: readonly ExtendedKeyUsage[];
  readonly validDays: number;
}

export interface Signer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

type KeyAlgorithm = webcrypto.EcKeyImportParams & { hash: string };

export const DAY_MS = 24 * 60 * 60 * 1000;
/** As long as an authority is valid. */
export const CA_DAYS = 3650;
/** The longest common name X.509 allows (RFC 5280, ub-common-name). A longer name stands in the SANs alone. */
export const COMMON_NAME_CHARS = 64;
/** Clocks of a cluster are not all the same to the second. */
const CLOCK_SKEW_MS = 5 * 60 * 1000;
const NEW_KEY = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const satisfies KeyAlgorithm;
/** Kinds of keys that others may have: an authority restored from elsewhere, a request's. */
const EC_CURVES: Readonly<Record<string, KeyAlgorithm>> = {
  prime256v1: NEW_KEY,
  secp384r1: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  secp521r1: { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
};
/** A request with a P-521 key and some names is about 1 KiB. */
const LARGEST_REQUEST_CHARS = 16 * 1024;

/** A new EC P-256 key. */
async function newKeys(): Promise<{ readonly keys: CryptoKeyPair; readonly pem: string }> {
  const keys = (await webcrypto.subtle.generateKey(NEW_KEY, true, ["sign", "verify"])) as CryptoKeyPair;
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  const pem = createPrivateKey({ key: der, format: "der", type: "pkcs8" }).export({ format: "pem", type: "pkcs8" });
  return { keys, pem: String(pem) };
}

type CryptoKeyPair = webcrypto.CryptoKeyPair;

/** A new key, and what its owner asks to be certified with; which name it gets is for the signer to say. */
export async function createSigningRequest(): Promise<KeyAndRequest> {
  const x509 = await loadX509();
  const { keys, pem } = await newKeys();
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: NEW_KEY });
  return { key: pem, csr: `${csr.toString("pem")}\n` };
}

/**
 * The public key of a request, once it is proven that its sender has the private one. Nothing else of the request counts.
 * @throws OpPrereqError (wrong_input)
 */
export async function requestedKey(csr: string): Promise<KeyObject> {
  if (csr.length > LARGEST_REQUEST_CHARS) throw unfitRequest("it is too long");
  const x509 = await loadX509();
  let key: KeyObject;
  let isProven: boolean;
  try {
    const request = new x509.Pkcs10CertificateRequest(csr);
    key = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: "der", type: "spki" });
    algorithmOf(key);
    isProven = await request.verify();
  } catch (error) {
    throw unfitRequest(error instanceof Error ? error.message : String(error));
  }
  if (!isProven) throw unfitRequest("its signature is not its key's");
  return key;
}

function unfitRequest(reason: string): OpPrereqError {
  return new OpPrereqError(`The certificate signing request cannot be used: ${reason}`, "wrong_input");
}

/** A certificate of an authority for someone's key, PEM. */
export async function signCertificate(signer: Signer, owner: KeyObject, content: CertificateContent): Promise<string> {
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(signer.certificate.raw);
  const signingKey = toCryptoKey(signer.key, "sign");
  const publicKey = toCryptoKey(owner, "verify");
  const made = await x509.X509CertificateGenerator.create({
    ...validity(content.validDays, signer.certificate.validToDate),
    serialNumber: randomSerial(),
    // As it stands there: libraries compare the bytes.
    issuer: issuer.subjectName,
    subject: content.subject.map(([field, value]) => ({ [field]: [value] })),
    signingAlgorithm: algorithmOf(signer.key),
    signingKey,
    publicKey,
    extensions: [
      ...endEntity(x509, content),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(await issuer.publicKey.export()),
    ],
  });
  return pemOf(made.rawData);
}

/**
 * A list of revoked certificates, PEM (RFC 5280, 5). It is valid as long as its signer: who takes longer than that to
 * get the next one does not stop working.
 * @param serials - in hexadecimal digits
 */
export async function signRevocations(signer: Signer, serials: readonly string[]): Promise<string> {
  const x509 = await loadX509();
  const { notBefore: thisUpdate, notAfter: nextUpdate } = validity(CA_DAYS, signer.certificate.validToDate);
  const list = await x509.X509CrlGenerator.create({
    ...{ thisUpdate, nextUpdate },
    issuer: new x509.X509Certificate(signer.certificate.raw).subjectName,
    signingAlgorithm: algorithmOf(signer.key),
    signingKey: toCryptoKey(signer.key, "sign"),
    // Without a reason the library writes an empty list of extensions, which the standard does not allow.
    entries: [...new Set(serials.map((serial) => serial.toUpperCase()))].map((serialNumber) => ({
      ...{ serialNumber, revocationDate: thisUpdate, reason: x509.X509CrlReason.cessationOfOperation },
    })),
  });
  const lines =
    Buffer.from(list.rawData)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return ["-----BEGIN X509 CRL-----", ...lines, "-----END X509 CRL-----", ""].join("\n");
}

/**
 * Whether an authority has signed a list of revoked certificates.
 * @throws Error when it cannot be read
 */
export async function hasSignedRevocations({ publicKey }: X509Certificate, list: string): Promise<boolean> {
  const x509 = await loadX509();
  return await new x509.X509Crl(list).verify({ publicKey: toCryptoKey(publicKey, "verify") });
}

/** A certificate that nobody issues, with its key. */
export async function signOwnCertificate(content: CertificateContent): Promise<{ key: string; certificate: string }> {
  const x509 = await loadX509();
  const { keys, pem } = await newKeys();
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(content.validDays),
    serialNumber: randomSerial(),
    name: content.subject.map(([field, value]) => ({ [field]: [value] })),
    signingAlgorithm: NEW_KEY,
    keys,
    extensions: endEntity(x509, content),
  });
  return { key: pem, certificate: pemOf(made.rawData) };
}

/** A new authority: its certificate and its key, both PEM. */
export async function createAuthority(
  subject: CertificateContent["subject"],
  validDays: number,
): Promise<{ readonly key: string; readonly certificate: string }> {
  const x509 = await loadX509();
  const { keys, pem } = await newKeys();
  const usages = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(validDays),
    serialNumber: randomSerial(),
    name: subject.map(([field, value]) => ({ [field]: [value] })),
    signingAlgorithm: NEW_KEY,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(usages, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: pem, certificate: pemOf(made.rawData) };
}

/** With a line feed at its end, so that several of them can stand one after another. */
function pemOf(der: ArrayBuffer): string {
  return new X509Certificate(Buffer.from(der)).toString();
}

/** PEM or DER. @throws ConfigurationError when it is no private key that can sign here */
export function signingKey(key: Buffer | string): KeyObject {
  const read = createPrivateKey(key);
  algorithmOf(read);
  return read;
}

function endEntity(x509: Awaited<ReturnType<typeof loadX509>>, { names, extendedKeyUsages }: CertificateContent) {
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(extendedKeyUsages.map((usage) => USAGE_OIDS[usage])),
    new x509.SubjectAlternativeNameExtension(
      names.map((name) => ({ type: isIP(name) === 0 ? ("dns" as const) : ("ip" as const), value: name })),
    ),
  ];
}

/** @param latest - the signer's own end */
function validity(days: number, latest?: Date): { readonly notBefore: Date; readonly notAfter: Date } {
  const now = Date.now();
  const end = Math.min(now + days * DAY_MS, latest?.getTime() ?? Number.POSITIVE_INFINITY);
  return { notBefore: new Date(now - CLOCK_SKEW_MS), notAfter: new Date(end) };
}

function algorithmOf(key: KeyObject): KeyAlgorithm | { readonly name: "Ed25519" } {
  if (key.asymmetricKeyType === "ed25519") return { name: "Ed25519" };
  const curve = key.asymmetricKeyType === "ec" ? EC_CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""] : undefined;
  if (curve !== undefined) return curve;
  throw new ConfigurationError(
    `A key of type ${key.asymmetricKeyType} is not used here: EC (P-256 to P-521) or Ed25519`,
  );
}

function toCryptoKey(key: KeyObject, usage: "sign" | "verify"): webcrypto.CryptoKey {
  const [own, needed] = [key.type === "private" ? "sign" : "verify", usage];
  if (own !== needed) throw new Error(`a ${key.type} key does not ${usage}`);
  return key.toCryptoKey(algorithmOf(key), true, [usage]);
}

/** 127 random bits; never zero (RFC 5280, 4.1.2.2 allows at most 20 octets, positive). */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

/** The certificates of a bundle, in their order. @throws Error when there is none, or one cannot be read */
export function certificatesIn(pem: string | Buffer): readonly X509Certificate[] {
  const blocks = pem.toString().match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (blocks === null) throw new Error("it holds no certificate");
  return blocks.map((block) => new X509Certificate(block));
}

/** SHA-256 of a certificate, in lower-case hexadecimal digits. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(":", "").toLowerCase();
}
