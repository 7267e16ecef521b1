/**
 * The content of a backup: entries one after another, each a length (four bytes, big-endian), so many bytes of JSON
 * ({@link ArchiveEntry}), and its `size` bytes of content. The last is of kind `end`.
 */
import { OpPrereqError } from "@gannet/errors";
import { z } from "zod";

/** Below these nothing else than Gannet's is written. */
const ROOTS = ["/etc/gannet", "/var/lib/gannet"];

const entryPath = z
  .string()
  .max(4096)
  .refine(
    (name) =>
      ROOTS.some((root) => name === root || name.startsWith(`${root}/`)) &&
      !name.split("/").some((part, index) => part === "." || part === ".." || (index > 0 && part === "")),
    "is no path of Gannet's",
  );
const owned = {
  path: entryPath,
  mode: z.int().min(0).max(0o7777),
  /** Names, or numbers where the machine had none: another machine has other numbers. */
  user: z.string(),
  group: z.string(),
  size: z.int().nonnegative(),
};

const archiveEntry = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("about"),
    /** Seconds since 1970. */
    created: z.number(),
    nodeName: z.string(),
    clusterName: z.string(),
    clusterUuid: z.string(),
    size: z.literal(0),
  }),
  z.strictObject({ kind: z.literal("folder"), ...owned, size: z.literal(0) }),
  z.strictObject({ kind: z.literal("file"), ...owned }),
  z.strictObject({ kind: z.literal("link"), ...owned, size: z.literal(0), target: z.string().max(4096) }),
  /** What Redis holds, as an RDB file. */
  z.strictObject({ kind: z.literal("redis"), size: z.int().positive() }),
  z.strictObject({ kind: z.literal("end"), size: z.literal(0) }),
]);
export type ArchiveEntry = z.infer<typeof archiveEntry>;

const LONGEST_ENTRY_BYTES = 64 * 1024;

/** The bytes of an entry before its content. */
export function entryHead(entry: ArchiveEntry): Buffer {
  const json = Buffer.from(JSON.stringify(entry));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json]);
}

/**
 * Entry after entry; the content of each is to be read before the next is asked for.
 * @throws OpPrereqError (wrong_input) on content that is no archive
 */
export async function* readArchive(
  bytes: AsyncIterable<Buffer>,
): AsyncGenerator<{ readonly entry: ArchiveEntry; readonly content: AsyncIterable<Buffer> }> {
  const reader = new ByteReader(bytes);
  for (;;) {
    const length = (await reader.exactly(4)).readUInt32BE();
    if (length > LONGEST_ENTRY_BYTES) throw unreadable("an entry is too long");
    const parsed = archiveEntry.safeParse(parseJson((await reader.exactly(length)).toString()));
    if (!parsed.success) throw unreadable(parsed.error.issues[0]?.message ?? "an entry is not known");
    const entry = parsed.data;
    if (entry.kind === "end") return await reader.expectEnd();
    yield { entry, content: reader.some(entry.size) };
  }
}

class ByteReader {
  readonly #parts: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  /** Of the present entry's content. */
  #unread = 0;

  constructor(bytes: AsyncIterable<Buffer>) {
    this.#parts = bytes[Symbol.asyncIterator]();
  }

  async exactly(count: number): Promise<Buffer> {
    if (this.#unread > 0) throw new Error("the content of an archive's entry was not read to its end");
    while (this.#rest.length < count) this.#rest = Buffer.concat([this.#rest, await this.#more()]);
    const bytes = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return bytes;
  }

  async *some(count: number): AsyncGenerator<Buffer> {
    this.#unread = count;
    while (this.#unread > 0) {
      if (this.#rest.length === 0) this.#rest = await this.#more();
      const part = this.#rest.subarray(0, this.#unread);
      this.#rest = this.#rest.subarray(part.length);
      this.#unread -= part.length;
      yield part;
    }
  }

  /** What is behind the end is not Gannet's; and only who reads to the end knows that the file is whole. */
  async expectEnd(): Promise<void> {
    for (let next = await this.#parts.next(); next.done !== true; next = await this.#parts.next())
      if (next.value.length > 0) throw unreadable("something follows its end");
    if (this.#rest.length > 0) throw unreadable("something follows its end");
  }

  async #more(): Promise<Buffer> {
    const { done, value } = await this.#parts.next();
    if (done === true) throw unreadable("its end is missing");
    return value;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreadable(why: string): OpPrereqError {
  return new OpPrereqError(`The backup cannot be used: ${why}`, "wrong_input");
}
