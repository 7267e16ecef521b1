/** Who sends a request: HTTP Basic authentication against the users file (RFC 7617). */
import { hash, randomBytes } from "node:crypto";
import type { UsersFile } from "./users-file.ts";
import { type RapiUser, REALM } from "./users-table.ts";

/** The header that goes with every 401. */
export const CHALLENGE = `Basic realm="${REALM}"`;

/** A handful of clients write their credentials in a handful of ways; more are dropped and checked again. */
const CACHE_LIMIT = 1024;

export class Authenticator {
  readonly #users: UsersFile;
  /**
   * Headers that were right, by their digest. Salted, so that neither the time of a look-up nor a memory dump
   * tells anything of a header that is nearly right.
   */
  readonly #verified = new Map<string, RapiUser>();
  readonly #salt = randomBytes(16).toString("hex");

  constructor(users: UsersFile) {
    this.#users = users;
    users.onChange(() => this.#verified.clear());
  }

  /** The user an `Authorization` header stands for, or undefined when it is wrong in any way. */
  authenticate(header: string): RapiUser | undefined {
    const key = hash("sha256", this.#salt + header, "base64");
    const known = this.#verified.get(key);
    if (known !== undefined) return known;
    const credentials = basicCredentials(header);
    const user = credentials && this.#users.table.verify(credentials.name, credentials.password);
    if (user === undefined) return undefined;
    if (this.#verified.size >= CACHE_LIMIT) this.#verified.clear();
    this.#verified.set(key, user);
    return user;
  }
}

function basicCredentials(header: string): { readonly name: string; readonly password: string } | undefined {
  const encoded = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const decoded = Buffer.from(encoded, "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  return colon < 0 ? undefined : { name: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}
