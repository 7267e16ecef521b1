/** What certificates are made with: the openssl command, a configuration of our own, and folders nobody else reads. */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";

const OPENSSL = "/usr/bin/openssl";
const TIMEOUT_MS = 30_000;
/** Arguments of `openssl req` for a new EC P-256 key, unencrypted: its protection is the file's mode. */
export const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"] as const;

export async function openssl(runner: CommandRunner, args: readonly string[]): Promise<void> {
  await runner.run({ argv: [OPENSSL, ...args], timeoutMs: TIMEOUT_MS });
}

/** 127 random bits as openssl takes them; never zero (RFC 5280, 4.1.2.2 allows at most 20 octets, positive). */
export function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return `0x${bytes.toString("hex")}`;
}

/**
 * An openssl configuration with one subject and one set of extensions. The system's own openssl.cnf is never
 * read. Values must have been checked by the caller: they are written as they are.
 */
export function configuration(options: {
  readonly subject: readonly (readonly [field: string, value: string])[];
  readonly extensions: Readonly<Record<string, string>>;
}): string {
  return [
    "[req]",
    "prompt = no",
    "utf8 = yes",
    "distinguished_name = subject",
    "[subject]",
    ...options.subject.map(([field, value]) => `${field} = ${value}`),
    "[extensions]",
    ...Object.entries(options.extensions).map(([name, value]) => `${name} = ${value}`),
    "",
  ].join("\n");
}

/**
 * Run `make` in a new private folder `<prefix>XXXXXX`, which is removed after it, together with what an earlier
 * run that was killed left.
 */
export async function inPrivateFolder<T>(prefix: string, make: (folder: string) => Promise<T>): Promise<T> {
  const parent = path.dirname(prefix);
  await mkdir(parent, { recursive: true, mode: 0o700 });
  for (const name of await readdir(parent))
    if (name.startsWith(path.basename(prefix))) await rm(path.join(parent, name), { recursive: true, force: true });
  const folder = await mkdtemp(prefix);
  try {
    return await make(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export async function writePrivate(file: string, content: string): Promise<void> {
  await writeFile(file, content, { mode: 0o600, flag: "wx" });
}

/** Set the file's mode and make it durable, so that a rename never exposes an empty file after a power loss. */
export async function seal(file: string, mode: number): Promise<void> {
  await chmod(file, mode);
  await sync(file);
}

/** Make a file's content, or a folder's entries, durable. */
export async function sync(fileOrFolder: string): Promise<void> {
  const handle = await open(fileOrFolder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
