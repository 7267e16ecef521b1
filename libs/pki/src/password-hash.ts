/** Passwords of the remote API's users as scrypt hashes (RFC 7914), and their written form. */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);

/** A stored hash. */
export interface PasswordHash {
  /** Cost, a power of two. */
  readonly N: number;
  /** Block size. */
  readonly r: number;
  /** Parallelisation. */
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

const FORM = /^ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;
/** What one check may take, so that a line of the users file cannot take the master's memory. */
const MAX_BYTES = 256 * 1024 * 1024;
/** Some 32 MiB and a tenth of a second for each check. */
const NEW = { N: 2 ** 15, r: 8, p: 1 } as const;

/**
 * `ln=15,r=8,p=1$SALT$HASH`: the cost's binary logarithm, block size and parallelisation of RFC 7914, then 8 to 64 bytes
 * of salt and 16 to 64 of hash in base64 without padding. Undefined when it is not so, or would take over 256 MiB.
 */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const [, logN, blockSize, parallel, salt, hash] = FORM.exec(text) ?? [];
  if (salt === undefined || hash === undefined) return undefined;
  const [N, r, p] = [2 ** Number(logN), Number(blockSize), Number(parallel)];
  if (N < 2 || r < 1 || p < 1 || p > 16 || 128 * r * (N + p + 2) > MAX_BYTES) return undefined;
  return { N, r, p, salt: Buffer.from(salt, "base64"), hash: Buffer.from(hash, "base64") };
}

/** A new hash in the form that {@link parsePasswordHash} reads. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, 32, { ...NEW, maxmem: MAX_BYTES });
  const text = (bytes: Buffer) => bytes.toString("base64").replace(/=+$/, "");
  return `ln=${Math.log2(NEW.N)},r=${NEW.r},p=${NEW.p}$${text(salt)}$${text(hash)}`;
}

/** Takes as long, and as much memory, as the hash's parameters ask for, in a thread of its own. */
export async function matchesPassword(password: string, { salt, hash, ...cost }: PasswordHash): Promise<boolean> {
  const derived = await derive(password, salt, hash.length, { ...cost, maxmem: MAX_BYTES + 1 });
  return timingSafeEqual(derived, hash);
}
