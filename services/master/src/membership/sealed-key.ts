/** A new authority's key on its way to all masters: only who has the key of the one before can open it. */
import { createCipheriv, createDecipheriv, createPrivateKey, hkdfSync, randomBytes } from "node:crypto";
import { ConfigurationError } from "@gannet/errors";

const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PURPOSE = "gannet: key of the next authority";

/** @param opener - the authority's key by which it can be opened, PEM @returns base64 of nonce, tag and ciphertext */
export function sealKey(key: string, opener: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, sealingKey(opener), nonce);
  const sealed = Buffer.concat([cipher.update(key, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64");
}

/** @throws ConfigurationError when it was sealed with another key, or is damaged */
export function openKey(sealed: string, opener: string): string {
  const bytes = Buffer.from(sealed, "base64");
  const nonce = bytes.subarray(0, NONCE_BYTES);
  const tag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  try {
    const decipher = createDecipheriv(CIPHER, sealingKey(opener), nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(tag);
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new ConfigurationError(
      "The cluster's authority has changed while this master was away for longer than one change; join it as a master anew",
      { cause },
    );
  }
}

function sealingKey(opener: string): Buffer {
  const der = createPrivateKey(opener).export({ type: "pkcs8", format: "der" });
  return Buffer.from(hkdfSync("sha256", der, Buffer.alloc(0), PURPOSE, KEY_BYTES));
}
