/**
 * Who sends a request: HTTP Basic authentication against the users file (RFC 7617), or an API token as a bearer
 * (RFC 6750) or, for clients that know Basic only, as the password of the user `token`.
 */
import { hash, randomBytes } from "node:crypto";
import type { ConfigStore } from "@gannet/config-store";
import type { Logger } from "@gannet/telemetry";
import { isRight, parseToken, TOKEN_USER, type TokenText } from "./api-tokens.ts";
import type { Requester } from "./handlers.ts";
import { type Guess, LoginLimiter, type LoginLimits } from "./login-limiter.ts";
import type { UsersFile } from "./users-file.ts";
import { REALM } from "./users-table.ts";

/** The header that goes with every 401. */
export const CHALLENGE = `Basic realm="${REALM}"`;

/** A handful of clients write their credentials in a handful of ways; more are dropped and checked again. */
const CACHE_LIMIT = 1024;

export interface AuthenticatorParts {
  readonly users: UsersFile;
  readonly configStore: Pick<ConfigStore, "view">;
  readonly limits: LoginLimits;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly logger: Logger;
  readonly onTokenUse: (id: string) => void;
}

type Credentials =
  | { readonly name: string; readonly password: string; readonly token?: never }
  | { readonly name: string; readonly token: TokenText };

export class Authenticator {
  readonly #parts: AuthenticatorParts;
  readonly #limiter: LoginLimiter;
  /**
   * Headers that were right, by their digest. Salted, so that neither the time of a look-up nor a memory dump
   * tells anything of a header that is nearly right.
   */
  readonly #verified = new Map<string, Requester>();
  /** Headers that are being checked: a client that begins with many requests is checked once. */
  readonly #checking = new Map<string, Promise<Requester | undefined>>();
  /** Users who were told that their passwords could be kept better. */
  readonly #advised = new Set<string>();
  readonly #salt = randomBytes(16).toString("hex");
  /** Counts the versions of the users file: what was checked against an older one is not kept. */
  #version = 0;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
    this.#limiter = new LoginLimiter(parts.limits);
    parts.users.onChange(() => {
      this.#version += 1;
      this.#verified.clear();
      this.#checking.clear();
    });
  }

  /**
   * The requester that an `Authorization` header stands for, or undefined when it is wrong in any way. A right one
   * that was seen before is never kept waiting.
   * @param address - of the connection
   * @throws TooManyFailures; Unavailable when too many passwords are being checked
   */
  authenticate(header: string, address: string): Requester | undefined | Promise<Requester | undefined> {
    const key = hash("sha256", this.#salt + header, "base64");
    const known = this.#verified.get(key) ?? this.#checking.get(key);
    if (known !== undefined) return known;
    const credentials = credentialsIn(header);
    if (credentials?.token !== undefined) return this.#byToken(credentials.token, credentials.name, address);
    const guess = this.#limiter.begin(address, credentials?.name ?? "");
    if (credentials === undefined) {
      guess.failed();
      return undefined;
    }
    const version = this.#version;
    const checking = this.#byPassword(credentials, guess)
      .then((requester) => {
        if (requester !== undefined && version === this.#version) this.#remember(key, requester);
        return requester;
      })
      .finally(() => {
        if (this.#checking.get(key) === checking) this.#checking.delete(key);
      });
    this.#checking.set(key, checking);
    return checking;
  }

  async #byPassword(
    { name, password }: { readonly name: string; readonly password: string },
    guess: Guess,
  ): Promise<Requester | undefined> {
    const login = await this.#parts.users.table.verify(name, password).catch((error: unknown) => {
      guess.ended();
      throw error;
    });
    if (login === undefined) {
      guess.failed();
      return undefined;
    }
    guess.ended();
    if (login.scheme !== "scrypt") this.#advise(name, login.scheme);
    return login.user;
  }

  /** Looked up each time: revoked, it is worth nothing at once. It gives nothing that its maker has lost since. */
  #byToken({ id, secret }: TokenText, name: string, address: string): Requester | undefined {
    const { configStore, users, clock, onTokenUse } = this.#parts;
    const token = configStore.view.tokens.get(id);
    const owner = token === undefined ? undefined : users.table.user(token.owner);
    if (isRight(token, secret, clock() / 1000) && owner !== undefined) {
      onTokenUse(id);
      const { rights, root } = token;
      return { name: `${owner.name}/${token.name}`, options: owner.options, token: { id, rights, root } };
    }
    this.#limiter.begin(address, name).failed();
    return undefined;
  }

  #remember(key: string, requester: Requester): void {
    if (this.#verified.size >= CACHE_LIMIT) this.#verified.clear();
    this.#verified.set(key, requester);
  }

  #advise(user: string, scheme: string): void {
    if (this.#advised.has(user)) return;
    this.#advised.add(user);
    this.#parts.logger.info(
      { user, scheme },
      "the users file keeps this user's password in a form that tells it, or is quickly guessed; 'gannet-admin hash-password' makes a better one",
    );
  }
}

/** Whom a header names, right or wrong, for records; undefined when it names nobody. */
export function namedIn(header: string): string | undefined {
  return credentialsIn(header)?.name;
}

function credentialsIn(header: string): Credentials | undefined {
  const bearer = /^bearer +(\S+) *$/i.exec(header)?.[1];
  if (bearer !== undefined) return tokenIn(bearer);
  const encoded = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const decoded = Buffer.from(encoded, "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  if (colon < 0) return undefined;
  const [name, password] = [decoded.slice(0, colon), decoded.slice(colon + 1)];
  return (name === TOKEN_USER ? tokenIn(password) : undefined) ?? { name, password };
}

function tokenIn(text: string): Credentials | undefined {
  const token = parseToken(text);
  return token === undefined ? undefined : { name: `token ${token.id}`, token };
}
