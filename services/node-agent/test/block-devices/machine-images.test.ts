import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import type { AttachedDevice } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createDiskContents } from "../../src/block-devices/disk-contents.ts";
import { createMachineImages, type MachineImages } from "../../src/block-devices/machine-images.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../src/block-devices/storage-tools.ts";

const { signal } = new AbortController();
const MIB = 1024 * 1024;
const IMAGE = randomBytes(MIB + 512);

let folder: string;
let images: MachineImages;
let disk: AttachedDevice;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-images-"));
  const runner = createCommandRunner({ logger: silentLogger() });
  const contents = createDiskContents({ runner, tools: SYSTEM_STORAGE_TOOLS });
  images = createMachineImages({ contents, ownFolders: [path.join(folder, "state")] });
  disk = { path: path.join(folder, "disk"), kind: "file", format: "raw" };
  await writeFile(disk.path, Buffer.alloc(3 * MIB, "x"));
  await writeFile(path.join(folder, "image"), IMAGE);
});
afterEach(() => rm(folder, { recursive: true }));

const at = (name: string) => path.join(folder, name);

async function expectWritten(): Promise<void> {
  const written = await readFile(disk.path);
  expect(written).toHaveLength(3 * MIB);
  expect(written.subarray(0, IMAGE.length).equals(IMAGE)).toBe(true);
  expect(written.subarray(IMAGE.length).every((byte) => byte === "x".charCodeAt(0))).toBe(true);
}

test("a file is written to the beginning of a disk, which keeps its size", async () => {
  expect(await images.sizeBytes(at("image"), signal)).toBe(IMAGE.length);
  await images.write(at("image"), { disk, sizeMib: 3 }, signal);
  await expectWritten();
});

test("so is what a server sends", async () => {
  await using server = createServer((request, response) => {
    if (request.url !== "/image") response.writeHead(404).end();
    else response.writeHead(200, { "content-length": IMAGE.length }).end(IMAGE);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  expect(await images.sizeBytes(`${url}/image`, signal)).toBe(IMAGE.length);
  await images.write(`${url}/image`, { disk, sizeMib: 3 }, signal);
  await expectWritten();
  await expect(images.sizeBytes(`${url}/other`, signal)).rejects.toThrow(/the server answers 404/);
  server.closeAllConnections();
});

test("what a server encodes is refused: its length is not the image's", async () => {
  const encoded = gzipSync(Buffer.alloc(5 * MIB));
  const asked: unknown[] = [];
  await using server = createServer((request, response) => {
    asked.push(request.headers["accept-encoding"]);
    response.writeHead(200, { "content-encoding": "gzip", "content-length": encoded.length }).end(encoded);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/image`;
  await expect(images.sizeBytes(url, signal)).rejects.toThrow(/the server sends it encoded by gzip/);
  await expect(images.write(url, { disk, sizeMib: 3 }, signal)).rejects.toThrow(/encoded by gzip/);
  expect(asked).toEqual(["identity", "identity"]);
  expect((await readFile(disk.path)).equals(Buffer.alloc(3 * MIB, "x"))).toBe(true);
  server.closeAllConnections();
});

test.each([
  ["more", 4 * MIB, /more than its 2097152 bytes arrive/],
  ["less", MIB, /1048576 of its 2097152 bytes arrive/],
])("%s than a server tells is no image, and nothing is written behind what it tells", async (_what, sent, words) => {
  vi.stubGlobal("fetch", async () => new Response(Buffer.alloc(sent), { headers: { "content-length": `${2 * MIB}` } }));
  try {
    await expect(images.write("http://192.0.2.1/image", { disk, sizeMib: 3 }, signal)).rejects.toThrow(words);
  } finally {
    vi.unstubAllGlobals();
  }
  const written = await readFile(disk.path);
  expect(written).toHaveLength(3 * MIB);
  expect(written.subarray(2 * MIB).equals(Buffer.alloc(MIB, "x"))).toBe(true);
});

test("one that does not fit changes nothing", async () => {
  const before = await readFile(disk.path);
  await expect(images.write(at("image"), { disk, sizeMib: 1 }, signal)).rejects.toThrow(
    /has 1049088 bytes, and .* 1 MiB/,
  );
  expect((await readFile(disk.path)).equals(before)).toBe(true);
});

test("what is no image, or the agent's own, is refused", async () => {
  await mkdir(at("state"));
  await writeFile(at("state/key.pem"), "secret");
  await symlink(at("state/key.pem"), at("link"));
  await writeFile(at("empty"), "");
  for (const [image, words] of [
    [at("missing"), /ENOENT/],
    [folder, /no file with contents/],
    [at("empty"), /no file with contents/],
    [at("state/key.pem"), /the agent's own file/],
    [at("link"), /the agent's own file/],
    ["ftp://192.0.2.1/image", /only paths and URLs of http and https/],
    ["http://127.0.0.1:1/image", /ECONNREFUSED|bad port/],
  ] as const)
    await expect(images.sizeBytes(image, signal), image).rejects.toThrow(words);
});
