/**
 * Images of machines that work on an instance's disks from inside (spec/config.json, `zeroing_image`): found on the
 * node or on the web, and written to the beginning of a disk.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { AttachedDevice } from "@gannet/driver-contract";
import { BlockDeviceError, OpPrereqError } from "@gannet/errors";
import { BYTES_PER_MIB } from "./describe-device.ts";
import type { DiskContents } from "./disk-contents.ts";

export interface MachineImages {
  /** @throws OpPrereqError (environment_error) when there is no such image, or it cannot be read from here */
  sizeBytes(image: string, signal: AbortSignal): Promise<number>;
  /**
   * @throws OpPrereqError (environment_error) as `sizeBytes`; BlockDeviceError when the disk is smaller or cannot be
   *   written
   */
  write(
    image: string,
    target: { readonly disk: AttachedDevice; readonly sizeMib: number },
    signal: AbortSignal,
  ): Promise<void>;
}

/** @param ownFolders - the agent's, of which nothing gets onto a disk: its keys are there */
export function createMachineImages(parts: {
  readonly contents: Pick<DiskContents, "rawView">;
  readonly ownFolders: readonly string[];
}): MachineImages {
  const opened = (image: string, signal: AbortSignal): Promise<OpenedImage> =>
    image.startsWith("/") ? fileImage(image, parts.ownFolders) : webImage(image, signal);

  return {
    async sizeBytes(image, signal) {
      const { sizeBytes, close } = await opened(image, signal);
      await close();
      return sizeBytes;
    },

    async write(image, { disk, sizeMib }, signal) {
      const source = await opened(image, signal);
      try {
        if (source.sizeBytes > sizeMib * BYTES_PER_MIB)
          throw new BlockDeviceError(
            `${image} has ${source.sizeBytes} bytes, and ${disk.path}, to which it is written, ${sizeMib} MiB`,
          );
        await using view = await parts.contents.rawView(disk, signal);
        const target = createWriteStream(view.disk.path, { flags: "r+", flush: true });
        await pipeline(source.stream(), exactly(source.sizeBytes), target, { signal });
        await view.keep(signal);
      } catch (cause) {
        signal.throwIfAborted();
        if (cause instanceof BlockDeviceError) throw cause;
        throw new BlockDeviceError(`${image} cannot be written to ${disk.path}: ${messageOf(cause)}`, { cause });
      } finally {
        await source.close();
      }
    },
  };
}

interface OpenedImage {
  readonly sizeBytes: number;
  stream(): Readable;
  close(): Promise<void>;
}

async function fileImage(image: string, ownFolders: readonly string[]): Promise<OpenedImage> {
  const place = await realpath(image).catch((cause: unknown) => {
    throw unusable(image, messageOf(cause), cause);
  });
  if (ownFolders.some((folder) => place.startsWith(`${folder}/`))) throw unusable(image, "it is the agent's own file");
  const { size } = await regularFile(image, place);
  return { sizeBytes: size, stream: () => createReadStream(place, { end: size - 1 }), close: async () => {} };
}

async function regularFile(image: string, place: string): Promise<{ readonly size: number }> {
  try {
    const found = await stat(place);
    if (!found.isFile() || found.size === 0) throw new Error("it is no file with contents");
    await (await open(place, "r")).close();
    return found;
  } catch (cause) {
    throw unusable(image, messageOf(cause), cause);
  }
}

async function webImage(image: string, signal: AbortSignal): Promise<OpenedImage> {
  if (!/^https?:\/\//i.test(image)) throw unusable(image, "only paths and URLs of http and https are read");
  const answer = await fetch(image, { signal, headers: { "accept-encoding": "identity" } }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw unusable(image, messageOf(cause instanceof Error ? (cause.cause ?? cause) : cause), cause);
  });
  const close = async () => {
    if (answer.body !== null && !answer.body.locked) await answer.body.cancel();
  };
  const problem = problemOf(answer);
  const { body } = answer;
  if (problem !== undefined || body === null) {
    await close();
    throw unusable(image, problem ?? "the server sends nothing");
  }
  return { sizeBytes: Number(lengthOf(answer)), stream: () => Readable.fromWeb(body), close };
}

/** Why the image cannot be taken as it is sent, for people; undefined when it can. */
function problemOf(answer: Response): string | undefined {
  if (!answer.ok) return `the server answers ${answer.status}`;
  const encoding = answer.headers.get("content-encoding") ?? "identity";
  // fetch decodes it, and its length then is not the image's.
  if (encoding.toLowerCase() !== "identity") return `the server sends it encoded by ${encoding.slice(0, 80)}`;
  return /^[1-9]\d*$/.test(lengthOf(answer)) ? undefined : "the server does not tell its length";
}

function lengthOf(answer: Response): string {
  return answer.headers.get("content-length") ?? "";
}

/** Passes so many bytes on. @throws Error at more, of which nothing is passed on, and at the end when there were fewer */
function exactly(sizeBytes: number) {
  return async function* (chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let passed = 0;
    for await (const chunk of chunks) {
      passed += chunk.byteLength;
      if (passed > sizeBytes) throw new Error(`more than its ${sizeBytes} bytes arrive`);
      yield chunk;
    }
    if (passed < sizeBytes) throw new Error(`${passed} of its ${sizeBytes} bytes arrive`);
  };
}

function unusable(image: string, why: string, cause?: unknown): OpPrereqError {
  return new OpPrereqError(`The image ${image} cannot be used on this node: ${why}`, "environment_error", { cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
