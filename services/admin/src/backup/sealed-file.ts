/**
 * A file that only its owner can read and nobody can change unnoticed: AES-256-GCM in chunks, each bound to its place
 * and the last one marked as such (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015), so that a
 * file of any size is written and checked as it goes by. The key comes from a passphrase (scrypt, RFC 7914), or is
 * random and wrapped for the holder of an RSA key (RSA-OAEP, RFC 8017).
 *
 * Layout: a line with the format's name, a line of JSON ({@link sealHeader}), then the chunks: ciphertext and tag.
 */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  scrypt,
  timingSafeEqual,
} from "node:crypto";
import { OpPrereqError } from "@gannet/errors";
import { z } from "zod";

const FORMAT = "GANNET-BACKUP 1";
const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
/** Derived with the key: tells a wrong passphrase from a damaged file. */
const CHECK_BYTES = 16;
const TAG_BYTES = 16;
const NONCE_PREFIX_BYTES = 7;
const CHUNK_BYTES = 64 * 1024;
const LONGEST_HEADER_BYTES = 8 * 1024;
/** 128 MiB of memory and some tenths of a second for each guess. */
const SCRYPT = { n: 2 ** 17, r: 8, p: 1 } as const;
/** A header is read before anything is known of who wrote it: it must not make us use up the machine. */
const MOST_SCRYPT_MEMORY = 1024 * 1024 * 1024;
const FEWEST_RSA_BITS = 2048;
const LINE_FEED = 0x0a;

const base64 = (bytes: number) => z.base64().refine((text) => Buffer.from(text, "base64").length === bytes);
const sealHeader = z.strictObject({
  cipher: z.literal(CIPHER),
  chunkBytes: z
    .int()
    .min(1024)
    .max(1024 * 1024),
  noncePrefix: base64(NONCE_PREFIX_BYTES),
  check: base64(CHECK_BYTES),
  key: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("scrypt"),
      salt: base64(32),
      n: z.int().min(2 ** 14),
      r: z.int().min(1),
      p: z.int().min(1).max(16),
    }),
    z.strictObject({ kind: z.literal("rsa-oaep-sha256"), wrapped: z.base64().max(4096) }),
  ]),
});
type SealHeader = z.infer<typeof sealHeader>;

/** Whom the file is for. */
export type Seal = { readonly passphrase: string } | { readonly recipient: KeyObject };
/** By what it is opened. */
export type Opener = { readonly passphrase: string } | { readonly identity: KeyObject };

/** @throws OpPrereqError when the PEM text is no RSA public key of some strength */
export function recipientKey(pem: string): KeyObject {
  return rsaKey("public", () => createPublicKey(pem));
}

/** @throws OpPrereqError when the PEM text is no RSA private key */
export function identityKey(pem: string): KeyObject {
  return rsaKey("private", () => createPrivateKey(pem));
}

/** The bytes of the sealed file. */
export async function* seal(content: AsyncIterable<Buffer>, to: Seal): AsyncGenerator<Buffer> {
  const { header, key } = await newHeader(to);
  const line = Buffer.from(`${FORMAT}\n${JSON.stringify(header)}\n`);
  yield line;
  const chunks = new Chunks(header, key, line);
  let waiting = Buffer.alloc(0);
  for await (const part of content) {
    waiting = Buffer.concat([waiting, part]);
    // The last chunk may be as long as the others: it is known for the last when nothing follows.
    for (; waiting.length > header.chunkBytes; waiting = waiting.subarray(header.chunkBytes))
      yield chunks.seal(waiting.subarray(0, header.chunkBytes), "more follows");
  }
  yield chunks.seal(waiting, "last");
}

/**
 * The bytes that were sealed. What has been yielded before an error is authentic, but is not all.
 * @throws OpPrereqError (wrong_input) on a file that is no backup, a wrong passphrase or key, truncation or alteration
 */
export async function* unseal(file: AsyncIterable<Buffer>, by: Opener): AsyncGenerator<Buffer> {
  const parts = file[Symbol.asyncIterator]();
  const { header, line, rest } = await readHeader(parts);
  const chunks = new Chunks(header, await openedKey(header, by), line);
  const sealedBytes = header.chunkBytes + TAG_BYTES;
  let waiting = rest;
  for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
    waiting = Buffer.concat([waiting, next.value]);
    for (; waiting.length > sealedBytes; waiting = waiting.subarray(sealedBytes))
      yield chunks.open(waiting.subarray(0, sealedBytes), "more follows");
  }
  yield chunks.open(waiting, "last");
}

/** Encrypts or decrypts chunk after chunk. */
class Chunks {
  readonly #key: Buffer;
  readonly #noncePrefix: Buffer;
  /** Each chunk is bound to the header. */
  readonly #bound: Buffer;
  #count = 0;

  constructor({ noncePrefix }: SealHeader, key: Buffer, line: Buffer) {
    this.#key = key;
    this.#noncePrefix = Buffer.from(noncePrefix, "base64");
    this.#bound = createHash("sha256").update(line).digest();
  }

  seal(plain: Buffer, place: "last" | "more follows"): Buffer {
    const cipher = createCipheriv(CIPHER, this.#key, this.#nonce(place)).setAAD(this.#bound);
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  open(sealed: Buffer, place: "last" | "more follows"): Buffer {
    const number = this.#count;
    const tagAt = sealed.length - TAG_BYTES;
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, this.#nonce(place), { authTagLength: TAG_BYTES });
      decipher.setAAD(this.#bound).setAuthTag(sealed.subarray(tagAt));
      return Buffer.concat([decipher.update(sealed.subarray(0, tagAt)), decipher.final()]);
    } catch (cause) {
      throw damaged(`its part ${number + 1} is not as it was written, or the end is missing`, cause);
    }
  }

  #nonce(place: "last" | "more follows"): Buffer {
    const counter = Buffer.alloc(5);
    counter.writeUInt32BE(this.#count);
    counter.writeUInt8(place === "last" ? 1 : 0, 4);
    this.#count += 1;
    return Buffer.concat([this.#noncePrefix, counter]);
  }
}

async function newHeader(to: Seal): Promise<{ readonly header: SealHeader; readonly key: Buffer }> {
  const { secret, key } =
    "recipient" in to ? wrappedSecret(to.recipient) : await passphraseSecret(to.passphrase, randomBytes(32), SCRYPT);
  const header = {
    cipher: CIPHER,
    chunkBytes: CHUNK_BYTES,
    noncePrefix: randomBytes(NONCE_PREFIX_BYTES).toString("base64"),
    check: secret.subarray(KEY_BYTES).toString("base64"),
    key,
  } as const;
  return { header, key: secret.subarray(0, KEY_BYTES) };
}

function wrappedSecret(recipient: KeyObject) {
  const secret = randomBytes(KEY_BYTES + CHECK_BYTES);
  const wrapped = publicEncrypt({ key: recipient, ...OAEP }, secret).toString("base64");
  return { secret, key: { kind: "rsa-oaep-sha256", wrapped } as const };
}

async function passphraseSecret(passphrase: string, salt: Buffer, { n, r, p }: { n: number; r: number; p: number }) {
  const secret = await derive(passphrase, salt, { n, r, p });
  return { secret, key: { kind: "scrypt", salt: salt.toString("base64"), n, r, p } as const };
}

async function openedKey({ key, check }: SealHeader, by: Opener): Promise<Buffer> {
  const secret = await openedSecret(key, by);
  if (secret?.length !== KEY_BYTES + CHECK_BYTES || !isSame(secret.subarray(KEY_BYTES), Buffer.from(check, "base64")))
    throw new OpPrereqError(
      key.kind === "scrypt"
        ? "The passphrase is not the backup's"
        : "The private key is not that of the backup's recipient",
      "wrong_input",
    );
  return secret.subarray(0, KEY_BYTES);
}

async function openedSecret(key: SealHeader["key"], by: Opener): Promise<Buffer | undefined> {
  if (key.kind === "scrypt") {
    if (!("passphrase" in by))
      throw new OpPrereqError("The backup was made with a passphrase, and a private key was given", "wrong_input");
    if (128 * key.n * key.r > MOST_SCRYPT_MEMORY || !Number.isInteger(Math.log2(key.n)))
      throw damaged("its header asks for more work than any backup does");
    return await derive(by.passphrase, Buffer.from(key.salt, "base64"), key);
  }
  if (!("identity" in by))
    throw new OpPrereqError("The backup was made for the holder of a key: give the private key", "wrong_input");
  try {
    return privateDecrypt({ key: by.identity, ...OAEP }, Buffer.from(key.wrapped, "base64"));
  } catch {
    return undefined;
  }
}

const OAEP = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" } as const;

function derive(passphrase: string, salt: Buffer, cost: { n: number; r: number; p: number }): Promise<Buffer> {
  const options = { N: cost.n, r: cost.r, p: cost.p, maxmem: 2 * MOST_SCRYPT_MEMORY };
  return new Promise((resolve, reject) => {
    // The same passphrase, typed on another keyboard, is the same text.
    scrypt(passphrase.normalize("NFC"), salt, KEY_BYTES + CHECK_BYTES, options, (error, derived) => {
      if (error === null) resolve(derived);
      else reject(error);
    });
  });
}

function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

async function readHeader(
  parts: AsyncIterator<Buffer>,
): Promise<{ readonly header: SealHeader; readonly line: Buffer; readonly rest: Buffer }> {
  let read = Buffer.alloc(0);
  let end = -1;
  while (end < 0 && read.length < LONGEST_HEADER_BYTES) {
    const { done, value } = await parts.next();
    if (done === true) break;
    read = Buffer.concat([read, value]);
    end = read.indexOf(LINE_FEED, FORMAT.length + 1);
  }
  const [format = "", json = ""] = read.subarray(0, Math.max(end, 0)).toString().split("\n");
  if (format !== FORMAT)
    throw read.toString("latin1").startsWith(FORMAT.split(" ")[0] as string) && end >= 0
      ? damaged(`it is of a version that is not known here: ${JSON.stringify(format.slice(0, 40))}`)
      : new OpPrereqError("The file is no backup of Gannet's, or only the beginning of one", "wrong_input");
  const parsed = sealHeader.safeParse(parseJson(json));
  if (!parsed.success) throw damaged("its header is not as it was written");
  return { header: parsed.data, line: read.subarray(0, end + 1), rest: read.subarray(end + 1) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(how: string, cause?: unknown): OpPrereqError {
  return new OpPrereqError(`The backup cannot be used: ${how}`, "wrong_input", { cause });
}

function rsaKey(kind: "public" | "private", read: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch (cause) {
    throw new OpPrereqError(`The file holds no ${kind} key as PEM: ${(cause as Error).message}`, "wrong_input", {
      cause,
    });
  }
  if (key.asymmetricKeyType !== "rsa" || (key.asymmetricKeyDetails?.modulusLength ?? 0) < FEWEST_RSA_BITS)
    throw new OpPrereqError(`The ${kind} key must be RSA, of ${FEWEST_RSA_BITS} bits at least`, "wrong_input");
  return key;
}
