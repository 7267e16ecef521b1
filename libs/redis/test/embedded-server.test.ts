import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OpPrereqError, Unavailable } from "@gannet/errors";
import { connectRedis, startEmbeddedRedis } from "@gannet/redis";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

let root: string;
let paths: { directory: string; socketPath: string };
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "gannet-embedded-"));
  paths = { directory: join(root, "state", "redis"), socketPath: join(root, "redis.sock") };
});
afterEach(() => rm(root, { recursive: true, force: true }));

test("it listens on a private socket only, writes each change to disk, and never evicts", async () => {
  const server = await startEmbeddedRedis(paths);
  const redis = connectRedis(server.address, { name: "test" });
  const settings = await redis.config("GET", "port", "appendonly", "appendfsync", "maxmemory-policy", "save");
  redis.disconnect();
  const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
  expect(settings).toEqual(expect.arrayContaining(["0", "yes", "always", "noeviction"]));
  expect(await mode(paths.socketPath)).toBe("700");
  expect(await mode(paths.directory)).toBe("700");
  expect(await mode(join(paths.directory, "redis.conf"))).toBe("600");
  await server.stop();
  expect(await server.exited).toEqual({ code: 0, signal: null });
});

test("the next start has the data of the one before, however that ended", async () => {
  for (const [round, end] of (["stop", "kill", "last"] as const).entries()) {
    const server = await startEmbeddedRedis(paths);
    const redis = connectRedis(server.address, { name: "test" });
    expect(await redis.incr("rounds")).toBe(round + 1);
    redis.disconnect();
    if (end === "kill") process.kill(server.pid, "SIGKILL");
    else await server.stop();
    await server.exited;
  }
});

test("it ends when its launcher is killed", async () => {
  const program = `
    import { startEmbeddedRedis } from "${import.meta.resolve("@gannet/redis")}";
    const server = await startEmbeddedRedis(${JSON.stringify(paths)});
    console.log(server.pid);
    setInterval(() => {}, 1000);`;
  const launcher = spawn(process.execPath, ["--input-type=module-typescript", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(launcher.stdout, "data")) as [Buffer];
  const pid = Number(line.toString());
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  launcher.kill("SIGKILL");
  await vi.waitFor(() => expect(existsSync(`/proc/${pid}`)).toBe(false), { timeout: 10_000 });
});

test("a second server on the same files is refused and leaves the first alone", async () => {
  const server = await startEmbeddedRedis(paths);
  await expect(startEmbeddedRedis(paths)).rejects.toThrow(Unavailable);
  const redis = connectRedis(server.address, { name: "test" });
  expect(await redis.ping()).toBe("PONG");
  redis.disconnect();
  await server.stop();
});

test("a server that ends at once tells why", async () => {
  await expect(startEmbeddedRedis({ ...paths, socketPath: "/proc/no/redis.sock" })).rejects.toThrow(
    /redis-server ended at once \(exit code 1\): .*unix socket/i,
  );
});

test.each([
  ["a relative directory", { directory: "state" }, "wrong_input"],
  ["a quote in a path", { directory: '/tmp/"x' }, "wrong_input"],
  ["a line break in a path", { directory: "/tmp/x\nport 6379" }, "wrong_input"],
  ["a socket path too long for the kernel", { socketPath: `/tmp/${"x".repeat(110)}` }, "wrong_input"],
  ["a missing binary", { binary: "/nonexistent/redis-server" }, "environment_error"],
])("%s is refused before anything is started", async (_, override, code) => {
  const error = await startEmbeddedRedis({ ...paths, ...override }).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(OpPrereqError);
  expect(error).toMatchObject({ code });
});
