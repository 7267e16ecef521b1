/** The users of the remote API as their file lists them: names, passwords, rights (spec/rapi.json, `http.auth`). */
import { createHash, timingSafeEqual } from "node:crypto";
import { type PasswordHash, parsePasswordHash } from "@gannet/pki";
import { PasswordChecks } from "./password-checks.ts";

/** Part of what `{ha1}` passwords hash, so it can never change. */
export const REALM = "Ganeti Remote API";

/** Someone who may use the remote API. */
export interface RapiUser {
  readonly name: string;
  /** `read`, `write`, `root`; others mean nothing here. */
  readonly options: ReadonlySet<string>;
}

/** A line of the users file cannot be understood. The message names the line, never what stands on it. */
export class UsersFileError extends Error {}

/** How a password is kept. */
export type PasswordScheme = "cleartext" | "ha1" | "scrypt";

/** A name and password that were right. */
export interface Login {
  readonly user: RapiUser;
  readonly scheme: PasswordScheme;
}

type Entry = { readonly user: RapiUser } & (
  | {
      readonly scheme: "cleartext" | "ha1";
      /** The SHA-256 of what a right password turns into, so that comparing takes the same time whatever was sent. */
      readonly digest: Buffer;
      /** What is compared: the password itself, or its HA1 of RFC 2617, section 3.2.2.2. */
      readonly form: (password: string) => string;
    }
  | { readonly scheme: "scrypt"; readonly hash: PasswordHash }
);

/** Of all tables of the process: what bounds them is the machine. */
const PASSWORD_CHECKS = new PasswordChecks();

/** The users of one reading of the file. */
export class UsersTable {
  readonly #entries: ReadonlyMap<string, Entry>;
  /** Stands for a name that nobody has: checked like the others, and never right. */
  readonly #nobody: Entry;

  constructor(entries: ReadonlyMap<string, Entry> = new Map()) {
    this.#entries = entries;
    const user = { name: "", options: new Set<string>() };
    const slow = [...entries.values()].find(({ scheme }) => scheme === "scrypt");
    this.#nobody =
      slow?.scheme === "scrypt"
        ? { user, scheme: "scrypt", hash: { ...slow.hash, hash: Buffer.alloc(slow.hash.hash.length) } }
        : { user, scheme: "cleartext", digest: Buffer.alloc(32), form: (password) => password };
  }

  get size(): number {
    return this.#entries.size;
  }

  user(name: string): RapiUser | undefined {
    return this.#entries.get(name)?.user;
  }

  /**
   * The user, when name and password are right. A wrong name costs as much time as a wrong password.
   * @throws Unavailable when too many are being checked
   */
  async verify(name: string, password: string): Promise<Login | undefined> {
    const entry = this.#entries.get(name) ?? this.#nobody;
    const right =
      entry.scheme === "scrypt"
        ? await PASSWORD_CHECKS.matches(password, entry.hash)
        : timingSafeEqual(sha256(entry.form(password)), entry.digest);
    return right && entry !== this.#nobody ? { user: entry.user, scheme: entry.scheme } : undefined;
  }
}

/**
 * Read a users file: `name password [option[,option]]` a line, `#` comments, empty lines. A password may begin
 * with a scheme in braces, in any case: `{cleartext}`, `{ha1}` or `{scrypt}` (`parsePasswordHash` of @gannet/pki). Of two lines for one name the later counts.
 * @throws UsersFileError
 */
export function parseUsers(text: string): UsersTable {
  const entries = new Map<string, Entry>();
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const entry = parseLine(line, index + 1);
    entries.set(entry.user.name, entry);
  }
  return new UsersTable(entries);
}

function parseLine(line: string, number: number): Entry {
  const [, name, secret, options = ""] = /^(\S+)\s+(\S+)(?:\s+(.*))?$/.exec(line) ?? [];
  if (name === undefined || secret === undefined)
    throw new UsersFileError(`line ${number} of the users file needs a name and a password`);
  const user: RapiUser = {
    name,
    options: new Set(
      options
        .split(",")
        .map((option) => option.trim())
        .filter((option) => option !== ""),
    ),
  };
  const [, scheme, rest = ""] = /^\{([^}]*)\}(.*)$/.exec(secret) ?? [];
  if (scheme === undefined) {
    if (secret.startsWith("{")) throw new UsersFileError(`line ${number} of the users file has an unclosed scheme`);
    return { user, scheme: "cleartext", digest: sha256(secret), form: (password) => password };
  }
  if (rest === "") throw new UsersFileError(`line ${number} of the users file has a scheme without a password`);
  switch (scheme.toLowerCase()) {
    case "cleartext":
      return { user, scheme: "cleartext", digest: sha256(rest), form: (password) => password };
    case "ha1":
      if (!/^[0-9a-f]{32}$/i.test(rest))
        throw new UsersFileError(`line ${number} of the users file has an {ha1} that is not 32 hexadecimal digits`);
      return { user, scheme: "ha1", digest: sha256(rest.toLowerCase()), form: (password) => ha1(name, password) };
    case "scrypt": {
      const hash = parsePasswordHash(rest);
      if (hash === undefined)
        throw new UsersFileError(
          `line ${number} of the users file has a {scrypt} that is not ln=N,r=N,p=N$SALT$HASH, or takes over 256 MiB`,
        );
      return { user, scheme: "scrypt", hash };
    }
    default:
      throw new UsersFileError(
        `line ${number} of the users file has a scheme that is none of {cleartext}, {ha1} and {scrypt}`,
      );
  }
}

function ha1(name: string, password: string): string {
  return createHash("md5").update(`${name}:${REALM}:${password}`).digest("hex");
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
