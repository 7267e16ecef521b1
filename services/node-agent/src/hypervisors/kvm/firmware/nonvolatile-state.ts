/**
 * What an instance's machine keeps while it is off: its UEFI variables and its TPM. It lies on the node where the
 * instance ran last, in a folder called by the instance's UUID, so that it goes with the instance under any name and
 * no later instance of the same name finds it.
 */
import { lstat, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { HypervisorError } from "@gannet/errors";
import { z } from "zod";
import { checkUuid } from "../../guest-name.ts";
import { makePrivateFolder } from "../private-folder.ts";

export interface NonvolatilePaths {
  /** With keys enrolled the variables are others: switching `secure_boot` neither loses nor weakens any. */
  readonly vars: string;
  readonly tpm: string;
}

export interface VarsSource extends Pick<NonvolatilePaths, "vars"> {
  readonly varsTemplate: string;
  readonly sentVars?: string;
}

/** Variables have at most 4 MiB on any firmware, a TPM some hundred KiB. */
const LIMIT_BYTES = 16 * 1024 * 1024;
/** No process keeps anything by these names: the lock of a TPM is made anew. */
const LEFT_OUT: readonly string[] = [".lock"];

/** Version, then the contents of each file by its path below the folder, in base64. */
const packed = z.strictObject({
  version: z.literal(1),
  files: z.record(z.string().regex(/^(tpm\/)?[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/), z.base64()),
});

export class NonvolatileState {
  readonly #folder: string;

  /** @param folder the driver's own, of mode 0700 */
  constructor(folder: string) {
    this.#folder = folder;
  }

  paths(guestUuid: string, { secureBoot }: { readonly secureBoot: boolean }): NonvolatilePaths {
    const folder = this.#folderOf(guestUuid);
    return {
      vars: path.join(folder, secureBoot ? "uefi-vars-secure.fd" : "uefi-vars.fd"),
      tpm: path.join(folder, "tpm"),
    };
  }

  /** In bytes; undefined when there are none. */
  async varsSize({ vars }: Pick<NonvolatilePaths, "vars">): Promise<number | undefined> {
    return (await stat(vars).catch(() => undefined))?.size;
  }

  async exists(guestUuid: string): Promise<boolean> {
    return (await lstat(this.#folderOf(guestUuid)).catch(() => undefined)) !== undefined;
  }

  /**
   * Variables as they were {@link readVars} on another node, or as the firmware's vendor gives them; nothing where the
   * instance has its own already.
   */
  async makeVars({ vars, varsTemplate, sentVars }: VarsSource): Promise<void> {
    await makePrivateFolder(path.dirname(vars));
    if ((await stat(vars).catch(() => undefined)) !== undefined) return;
    const unfinished = `${vars}.new`;
    await rm(unfinished, { force: true });
    const contents =
      sentVars === undefined ? await readFile(varsTemplate) : await unzipped(Buffer.from(sentVars, "base64"));
    await writeFile(unfinished, contents, { mode: 0o600, flush: true });
    await rename(unfinished, vars);
  }

  /** For {@link makeVars}: compressed, in base64. */
  async readVars({ vars }: Pick<NonvolatilePaths, "vars">): Promise<string> {
    return (await zipped(await readFile(vars))).toString("base64");
  }

  async makeTpmFolder(folder: string): Promise<void> {
    await makePrivateFolder(path.dirname(folder));
    await makePrivateFolder(folder);
  }

  /** What there is of an instance that does not run; undefined when that is nothing. */
  async read(guestUuid: string): Promise<Uint8Array | undefined> {
    const folder = this.#folderOf(guestUuid);
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    const files = entries.filter((entry) => entry.isFile() && !LEFT_OUT.includes(entry.name));
    if (files.length === 0) return undefined;
    const contents = await Promise.all(
      files.map(async ({ parentPath, name }) => {
        const file = path.join(parentPath, name);
        return [path.relative(folder, file), (await readFile(file)).toString("base64")] as const;
      }),
    );
    return zipped(Buffer.from(JSON.stringify({ version: 1, files: Object.fromEntries(contents) })));
  }

  /** Instead of all that there is. @throws HypervisorError when it was not {@link read} anywhere */
  async write(guestUuid: string, state: Uint8Array): Promise<void> {
    const { files } = await unpack(guestUuid, state);
    await this.remove(guestUuid);
    const folder = this.#folderOf(guestUuid);
    const unfinished = `${folder}.new`;
    await rm(unfinished, { recursive: true, force: true });
    await makePrivateFolder(unfinished);
    for (const [name, contents] of Object.entries(files)) {
      const file = path.join(unfinished, name);
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      await writeFile(file, Buffer.from(contents, "base64"), { mode: 0o600, flag: "wx", flush: true });
    }
    await rename(unfinished, folder);
  }

  /** Succeeds when there is none. */
  async remove(guestUuid: string): Promise<void> {
    await rm(this.#folderOf(guestUuid), { recursive: true, force: true });
  }

  #folderOf(guestUuid: string): string {
    checkUuid(guestUuid, "An instance");
    return path.join(this.#folder, guestUuid);
  }
}

async function unpack(guestUuid: string, state: Uint8Array): Promise<z.output<typeof packed>> {
  try {
    const text = await unzipped(state);
    return packed.parse(JSON.parse(text.toString("utf8")));
  } catch (error) {
    throw new HypervisorError(
      `The UEFI variables and the TPM of instance ${guestUuid} cannot be read as they were sent`,
      {
        cause: error,
      },
    );
  }
}

function zipped(contents: Uint8Array): Promise<Buffer> {
  return promisify(gzip)(contents);
}

function unzipped(contents: Uint8Array): Promise<Buffer> {
  return promisify(gunzip)(contents, { maxOutputLength: LIMIT_BYTES });
}
