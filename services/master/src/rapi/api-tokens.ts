/** API tokens: their text, and whether one is right. They are rows of the configuration. */
import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import type { ApiToken } from "@gannet/objects";

/** What a client shows. */
export interface TokenText {
  readonly id: string;
  readonly secret: string;
}

/** The user name by which a token comes as a password. */
export const TOKEN_USER = "token";
const TEXT = /^gnt_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
const NO_DIGEST = Buffer.alloc(32).toString("base64url");

export interface NewToken {
  readonly id: string;
  /** `gnt_ID_SECRET` */
  readonly text: string;
  /** What is kept of the secret. */
  readonly digest: string;
}

export function newToken(): NewToken {
  const id = randomBytes(8).toString("hex");
  const secret = randomBytes(32).toString("base64url");
  return { id, text: `gnt_${id}_${secret}`, digest: digestOf(secret) };
}

/** Undefined when it is no token's text. */
export function parseToken(text: string): TokenText | undefined {
  const [, id, secret] = TEXT.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/**
 * Whether the secret is this token's and the token has not expired. A token that there is not takes as long.
 * @param nowS - seconds since 1970
 */
export function isRight(token: ApiToken | undefined, secret: string, nowS: number): token is ApiToken {
  const matches = timingSafeEqual(Buffer.from(digestOf(secret)), Buffer.from(token?.digest ?? NO_DIGEST));
  return token !== undefined && matches && nowS < token.expires;
}

function digestOf(secret: string): string {
  return hash("sha256", secret, "base64url");
}
