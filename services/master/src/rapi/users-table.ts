/** The users of the remote API as their file lists them: names, passwords, rights (spec/rapi.json, `http.auth`). */
import { createHash, timingSafeEqual } from "node:crypto";

/** Part of what `{ha1}` passwords hash, so it can never change. */
export const REALM = "Ganeti Remote API";

/** Someone who may use the remote API. */
export interface RapiUser {
  readonly name: string;
  /** `read`, `write`; others mean nothing here. */
  readonly options: ReadonlySet<string>;
}

/** A line of the users file cannot be understood. The message names the line, never what stands on it. */
export class UsersFileError extends Error {}

interface Entry {
  readonly user: RapiUser;
  /** The SHA-256 of what a right password turns into, so that comparing takes the same time whatever was sent. */
  readonly digest: Buffer;
  /** What is compared: the password itself, or its HA1 of RFC 2617, section 3.2.2.2. */
  readonly form: (password: string) => string;
}

/** The users of one reading of the file. */
export class UsersTable {
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #nobody: Entry = {
    user: { name: "", options: new Set() },
    digest: Buffer.alloc(32),
    form: (password) => password,
  };

  constructor(entries: ReadonlyMap<string, Entry> = new Map()) {
    this.#entries = entries;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The user, when name and password are right. A wrong name costs as much time as a wrong password. */
  verify(name: string, password: string): RapiUser | undefined {
    const entry = this.#entries.get(name) ?? this.#nobody;
    const right = timingSafeEqual(sha256(entry.form(password)), entry.digest);
    return right && entry !== this.#nobody ? entry.user : undefined;
  }
}

/**
 * Read a users file: `name password [option[,option]]` a line, `#` comments, empty lines. A password may begin
 * with a scheme in braces, in any case: `{cleartext}` or `{ha1}`. Of two lines for one name the later counts.
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
    return { user, digest: sha256(secret), form: (password) => password };
  }
  if (rest === "") throw new UsersFileError(`line ${number} of the users file has a scheme without a password`);
  switch (scheme.toLowerCase()) {
    case "cleartext":
      return { user, digest: sha256(rest), form: (password) => password };
    case "ha1":
      if (!/^[0-9a-f]{32}$/i.test(rest))
        throw new UsersFileError(`line ${number} of the users file has an {ha1} that is not 32 hexadecimal digits`);
      return { user, digest: sha256(rest.toLowerCase()), form: (password) => ha1(name, password) };
    default:
      throw new UsersFileError(`line ${number} of the users file has a scheme that is neither {cleartext} nor {ha1}`);
  }
}

function ha1(name: string, password: string): string {
  return createHash("md5").update(`${name}:${REALM}:${password}`).digest("hex");
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
