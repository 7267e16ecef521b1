/** The users of a one-machine cluster's remote API. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** The admin's `user password`, in a file for this user only; made at the first start. */
export async function adminCredentials(file: string): Promise<Credentials> {
  const kept = await readFile(file, "utf8").catch(() => "");
  const [user, password] = kept.trim().split(" ");
  if (user !== undefined && password !== undefined) return { user, password };
  const made = { user: "admin", password: randomBytes(18).toString("base64url") };
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, `${made.user} ${made.password}\n`, { mode: 0o600 });
  return made;
}

/** A users file that holds the admin, unless the operator has one already. */
export async function ensureUsersFile(file: string, { user, password }: Credentials): Promise<void> {
  const text = [
    "# Users of the remote API, one a line: name, password, options (read, write, root). Read again on each change.",
    `${user} {cleartext}${password} write,root`,
    "",
  ].join("\n");
  await writeFile(file, text, { mode: 0o600, flag: "wx" }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
}
