/** Copies of what a Redis holds, from real servers, and servers that begin with one. */
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { Unavailable } from "@gannet/errors";
import { connectRedis, copyRedisData, type RedisAddress, startEmbeddedRedis } from "@gannet/redis";
import { startRedisGroup, startTestRedis } from "@gannet/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-copy-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function contentOf(address: RedisAddress): Promise<Buffer> {
  const copy = await copyRedisData(address);
  const parts: Buffer[] = [];
  for await (const part of copy.content) parts.push(part);
  copy.close();
  const content = Buffer.concat(parts);
  expect(content.length).toBe(copy.sizeBytes);
  return content;
}

/** What a server that begins with the copy has at a key, also after its restart. */
async function valueIn(copy: Buffer, key: string): Promise<readonly (string | null)[]> {
  const paths = { directory: path.join(folder, "data"), socketPath: path.join(folder, "redis.sock") };
  await rm(paths.directory, { recursive: true, force: true });
  const first = await startEmbeddedRedis({ ...paths, ...(await seeded(paths.directory, copy)) });
  const values: (string | null)[] = [];
  for (const server of [first, undefined]) {
    const running = server ?? (await startEmbeddedRedis(paths));
    const redis = connectRedis(running.address, { name: "test" });
    values.push(await redis.get(key));
    redis.disconnect();
    await running.stop();
  }
  expect(await readdir(paths.directory)).not.toContain("seed.rdb");
  return values;
}

async function seeded(directory: string, copy: Buffer): Promise<{ readonly seedFile: string }> {
  const server = await startEmbeddedRedis({ directory, socketPath: path.join(folder, "make.sock") });
  await server.stop();
  await rm(path.join(directory, "appendonlydir"), { recursive: true });
  await writeFile(path.join(directory, "seed.rdb"), copy);
  return { seedFile: "seed.rdb" };
}

describe("a copy", () => {
  test("is what the server held, and a server that begins with it keeps it", async () => {
    await using source = await startTestRedis();
    await source.client.set("key", "value");
    await source.client.set("large", "x".repeat(3_000_000));
    const copy = await contentOf(source.address);
    await source.client.set("key", "later");
    expect(await valueIn(copy, "key")).toEqual(["value", "value"]);
  });

  test("needs the password where there is one", async () => {
    await using source = await startTestRedis();
    await source.client.config("SET", "requirepass", "secret");
    await expect(copyRedisData(source.address)).rejects.toThrow(/NOAUTH/);
    await expect(copyRedisData({ ...source.address, password: "wrong" })).rejects.toThrow(/WRONGPASS/);
    expect((await contentOf({ ...source.address, password: "secret" })).subarray(0, 5).toString()).toBe("REDIS");
  });

  test("comes from the primary that the sentinels name, over mutual TLS", async () => {
    await using group = await startRedisGroup();
    const redis = connectRedis(group.address, { name: "test" });
    await expect.poll(() => redis.set("key", "of the group").catch(() => ""), { timeout: 20_000 }).toBe("OK");
    redis.disconnect();
    expect(await valueIn(await contentOf(group.address), "key")).toEqual(["of the group", "of the group"]);
  });
});

describe("what is no Redis, or ends too early, is told", () => {
  async function answering(text: string): Promise<AsyncDisposable & { readonly address: RedisAddress }> {
    const server = createServer((socket) => socket.once("data", () => socket.end(text)));
    const socketPath = path.join(folder, "other.sock");
    server.listen(socketPath);
    await once(server, "listening");
    return {
      address: { kind: "socket", path: socketPath },
      async [Symbol.asyncDispose]() {
        server.close();
      },
    };
  }

  test.each([
    ["+OK\r\n", "no copy"],
    ["-ERR unknown command\r\n", "unknown command"],
    ["", "closed the connection"],
    ["\n\n$100\r\nREDIS", "closed the connection"],
  ])("%j", async (text, message) => {
    await using server = await answering(text);
    const failure = await contentOf(server.address).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Unavailable);
    expect((failure as Error).message).toContain(message);
  });

  test("nobody there", async () => {
    await expect(copyRedisData({ kind: "socket", path: path.join(folder, "none.sock") })).rejects.toBeInstanceOf(
      Unavailable,
    );
  });

  test("a file that is no RDB file keeps a server from starting, with Redis' own words", async () => {
    const directory = path.join(folder, "data");
    const seed = await seeded(directory, Buffer.from("no RDB file"));
    const started = startEmbeddedRedis({ directory, socketPath: path.join(folder, "redis.sock"), ...seed });
    await expect(started).rejects.toBeInstanceOf(Unavailable);
  });
});
