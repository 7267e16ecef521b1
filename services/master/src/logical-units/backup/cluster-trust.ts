/**
 * How two clusters that share a domain secret prove it to each other in a remote export
 * (spec/os-iallocator-hooks.json, `export_import.remote_export`). Everything passes through a client that is trusted
 * with none of it: each part is authenticated by an HMAC, and the secret itself is in none. Pure, but for the salts.
 */
import { createHmac, randomBytes, timingSafeEqual, X509Certificate } from "node:crypto";
import { OpPrereqError } from "@gannet/errors";
import { z } from "zod";

/** Of the protocol between clusters; there is no other. */
const VERSION = 0;
const GREETING = "Hi, I'm Ganeti";
const SALT_BYTES = 8;
/** Of keys and certificates that are made for one export. */
export const CERTIFICATE_VALIDITY_S = 24 * 60 * 60;
const SIGNATURE_HEADER = "X-Ganeti-Signature";
const SIGNATURE = new RegExp(`^${SIGNATURE_HEADER}:\\s*([0-9a-f]{${2 * SALT_BYTES}})/([0-9a-f]+)\\s*$`, "i");
/** Clocks of two clusters may differ by so much (Ganeti: NODE_MAX_CLOCK_SKEW). */
const CLOCK_SKEW_MS = 150_000;

/** `[version, HMAC, salt]` */
export type Handshake = readonly [version: number, hmac: string, salt: string];
/** `[name, HMAC, salt]` */
export type SignedName = readonly [name: string, hmac: string, salt: string];
/** Where one disk's contents are awaited: `[host, port, magic, HMAC, salt]`. */
export type SignedTarget = readonly [host: string, port: number, magic: string, hmac: string, salt: string];

/** Where one disk's contents are awaited. */
export interface DiskTarget {
  readonly host: string;
  readonly port: number;
  /** What the sender says first. */
  readonly magic: string;
}

/** Of one length: text could be moved from what is signed into the salt otherwise. */
const saltShape = z.string().regex(new RegExp(`^[0-9a-f]{${2 * SALT_BYTES}}$`));
const handshakeShape = z.tuple([z.int(), z.string(), saltShape]);
const signedNameShape = z.tuple([z.string(), z.string(), saltShape]);
/** Ganeti's clients have the port as a number, and may send it as text. */
const targetShape = z.tuple([z.string(), z.coerce.number().pipe(z.int()), z.string(), z.string(), saltShape]);

export function handshake(secret: string): Handshake {
  const salt = newSalt();
  return [VERSION, hmacOf(secret, greeting(VERSION), salt), salt];
}

/** @throws OpPrereqError (wrong_input) unless it was made with the same secret and for the same protocol */
export function checkHandshake(secret: string, given: unknown): void {
  const parsed = handshakeShape.safeParse(given);
  if (!parsed.success) throw refusal("Invalid handshake: it is not a version, a hash and a salt");
  const [version, hmac, salt] = parsed.data;
  if (!verifies(secret, greeting(version), { hmac, salt }))
    throw refusal("Invalid handshake: Hash didn't match, clusters don't share the same domain secret");
  if (version !== VERSION)
    throw refusal(
      `Invalid handshake: Clusters don't have the same remote import/export protocol (local=${VERSION}, remote=${version})`,
    );
}

export function signName(secret: string, name: string): SignedName {
  const salt = newSalt();
  return [name, hmacOf(secret, name, salt), salt];
}

/** @returns the name @throws OpPrereqError (wrong_input) */
export function checkName(secret: string, given: unknown): string {
  const parsed = signedNameShape.safeParse(given);
  if (!parsed.success) throw refusal("Invalid data for X509 key name: it is not a name, a hash and a salt");
  const [name, hmac, salt] = parsed.data;
  if (!verifies(secret, name, { hmac, salt })) throw refusal("HMAC for X509 key name is wrong");
  return name;
}

/** A certificate with a line in front by which the other cluster knows it for this one's. */
export function signCertificate(secret: string, pem: string): string {
  const salt = newSalt();
  const canonical = new X509Certificate(pem).toString();
  return `${SIGNATURE_HEADER}: ${salt}/${hmacOf(secret, canonical, salt)}\n\n${canonical}`;
}

/**
 * @param whose - `source`, `destination`: for messages
 * @returns the certificate alone, PEM
 * @throws OpPrereqError (wrong_input) when it is not signed with the secret, or not valid now
 */
export function checkCertificate(secret: string, given: string, whose: string, nowMs = Date.now()): string {
  const unusable = (why: string) => refusal(`Unable to load ${whose} X509 CA (${why})`);
  const [, salt, hmac] =
    given
      .split(/\r?\n/)
      .map((line) => SIGNATURE.exec(line))
      .find((match) => match !== null) ?? [];
  if (salt === undefined || hmac === undefined) throw unusable("Can't find X509 certificate signature");
  const certificate = certificateIn(given);
  if (certificate === undefined) throw unusable("it is no certificate in PEM");
  if (!verifies(secret, certificate.toString(), { hmac, salt }))
    throw unusable("X509 certificate signature is invalid");
  const invalid = (why: string) => refusal(`Invalid ${whose} X509 CA (Certificate ${why})`);
  if (certificate.validFromDate.getTime() > nowMs + CLOCK_SKEW_MS)
    throw invalid(`is not yet valid; it is from ${certificate.validFrom}`);
  if (certificate.validToDate.getTime() < nowMs) throw invalid(`is expired since ${certificate.validTo}`);
  return certificate.toString();
}

export function signTarget(secret: string, index: number, { host, port, magic }: DiskTarget): SignedTarget {
  const salt = newSalt();
  return [host, port, magic, hmacOf(secret, targetText(index, { host, port, magic }), salt), salt];
}

/** @throws OpPrereqError (wrong_input) naming the disk */
export function checkTarget(secret: string, index: number, given: unknown): DiskTarget {
  const parsed = targetShape.safeParse(given);
  if (!parsed.success)
    throw refusal(`Target info for disk ${index}: Invalid data: it is not host, port, magic, hash and salt`);
  const [host, port, magic, hmac, salt] = parsed.data;
  if (!verifies(secret, targetText(index, { host, port, magic }), { hmac, salt }))
    throw refusal(`Target info for disk ${index}: HMAC is wrong`);
  return { host, port, magic };
}

const greeting = (version: number): string => `${version}:${GREETING}`;
const targetText = (index: number, { host, port, magic }: DiskTarget): string => `${index}:${host}:${port}:${magic}`;
const newSalt = (): string => randomBytes(SALT_BYTES).toString("hex");

function hmacOf(secret: string, text: string, salt: string): string {
  return createHmac("sha1", secret)
    .update(salt + text)
    .digest("hex");
}

function verifies(secret: string, text: string, { hmac, salt }: { readonly hmac: string; readonly salt: string }) {
  const expected = Buffer.from(hmacOf(secret, text, salt));
  const given = Buffer.from(hmac.toLowerCase());
  return expected.length === given.length && timingSafeEqual(expected, given);
}

function certificateIn(text: string): X509Certificate | undefined {
  try {
    return new X509Certificate(text);
  } catch {
    return undefined;
  }
}

function refusal(text: string): OpPrereqError {
  return new OpPrereqError(text, "wrong_input");
}
