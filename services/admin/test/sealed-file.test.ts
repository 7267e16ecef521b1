/** Sealed files: any content comes back, and no change of any byte goes unnoticed. */
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { OpPrereqError } from "@gannet/errors";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { entryHead, readArchive } from "../src/backup/archive.ts";
import { type Opener, recipientKey, seal, unseal } from "../src/backup/sealed-file.ts";

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const recipient = createPublicKey(privateKey);
const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 16;

async function* inParts(bytes: Buffer, partBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += partBytes) yield bytes.subarray(at, at + partBytes);
}

async function all(parts: AsyncIterable<Buffer>): Promise<Buffer> {
  const list: Buffer[] = [];
  for await (const part of parts) list.push(part);
  return Buffer.concat(list);
}

function sealed(content: Buffer): Promise<Buffer> {
  return all(seal(inParts(content, 50_000), { recipient }));
}

function opened(file: Buffer, by: Opener = { identity: privateKey }): Promise<Buffer> {
  return all(unseal(inParts(file, 33_333), by));
}

describe("what was sealed", () => {
  test.each([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])(
    "%i bytes come back",
    async (size) => {
      const content = Buffer.alloc(size, "content ");
      expect((await opened(await sealed(content))).equals(content)).toBe(true);
    },
  );

  test("differs each time", async () => {
    const content = Buffer.from("the same");
    expect((await sealed(content)).equals(await sealed(content))).toBe(false);
  });

  test("by a passphrase is opened by the same text, however it was typed", async () => {
    const file = await all(seal(inParts(Buffer.from("content"), 4), { passphrase: "caf\u00e9 caf\u00e9 caf\u00e9" }));
    expect((await opened(file, { passphrase: "cafe\u0301 cafe\u0301 cafe\u0301" })).toString()).toBe("content");
    await expect(opened(file, { passphrase: "cafe cafe cafe" })).rejects.toThrow("passphrase is not the backup's");
    await expect(opened(file)).rejects.toThrow("was made with a passphrase");
  });
});

describe("damage", () => {
  const content = Buffer.alloc(2 * CHUNK_BYTES + 100, "secret ");

  test("of any byte, a cut, a swap or an addition is refused", async () => {
    const whole = await sealed(content);
    const headBytes = whole.indexOf("\n", 20) + 1;
    const damages = fc.oneof(
      fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, bits]) => {
        const other = Buffer.from(whole);
        other.writeUInt8(other.readUInt8(at) ^ bits, at);
        return other;
      }),
      fc.nat(whole.length - 1).map((size) => whole.subarray(0, size)),
      fc.constantFrom(1, 2).map((chunks) => whole.subarray(0, headBytes + chunks * (CHUNK_BYTES + TAG_BYTES))),
      fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.concat([whole, bytes])),
      fc.constant(swappedChunks(whole, headBytes)),
    );
    await fc.assert(
      fc.asyncProperty(damages, async (damaged) => {
        await expect(opened(damaged)).rejects.toBeInstanceOf(OpPrereqError);
      }),
      { numRuns: 60 },
    );
  });

  test("of the header cannot make a reader work for ever", async () => {
    const header = { n: 2 ** 30, r: 8, p: 1, kind: "scrypt", salt: Buffer.alloc(32).toString("base64") };
    const rest = { cipher: "aes-256-gcm", chunkBytes: 65_536, noncePrefix: Buffer.alloc(7).toString("base64") };
    const line = JSON.stringify({ ...rest, check: Buffer.alloc(16).toString("base64"), key: header });
    await expect(opened(Buffer.from(`GANNET-BACKUP 1\n${line}\n`), { passphrase: "x" })).rejects.toThrow("more work");
  });

  test("a newer version is named", async () => {
    await expect(opened(Buffer.from("GANNET-BACKUP 2\n{}\n"))).rejects.toThrow("version that is not known");
  });
});

test("a key that is too weak, or none, is refused", () => {
  const weak = generateKeyPairSync("rsa", {
    modulusLength: 1024,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  expect(() => recipientKey(weak.publicKey)).toThrow("2048 bits at least");
  expect(() => recipientKey("nonsense")).toThrow("holds no public key");
});

describe("an archive from somebody who only has the public key", () => {
  const owned = { mode: 0o644, user: "root", group: "root", size: 0 };

  test.each(["/etc/passwd", "/etc/gannet/../passwd", "/etc/gannet//x", "etc/gannet/x", "/var/lib/gannetx"])(
    "cannot name %s",
    async (path) => {
      const entry = entryHead({ kind: "file", path, ...owned });
      await expect(readArchive(inParts(entry, 10)).next()).rejects.toBeInstanceOf(OpPrereqError);
    },
  );
});

/** Both whole, in each other's place. */
function swappedChunks(whole: Buffer, headBytes: number): Buffer {
  const size = CHUNK_BYTES + TAG_BYTES;
  const chunk = (n: number) => whole.subarray(headBytes + n * size, headBytes + (n + 1) * size);
  return Buffer.concat([whole.subarray(0, headBytes), chunk(1), chunk(0), whole.subarray(headBytes + 2 * size)]);
}
