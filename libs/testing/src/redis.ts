/** A private, durable redis-server for a test file, which may be killed and started again on the same data. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  connectRedis,
  type EmbeddedRedis,
  type Redis,
  type RedisAddress,
  redisReady,
  startEmbeddedRedis,
} from "@gannet/redis";

export interface TestRedis extends AsyncDisposable {
  readonly address: RedisAddress & { readonly kind: "socket" };
  /** Of the present server process, to stop and continue it by signals. */
  readonly pid: number;
  /** For the test's own looking and poking; closed by `stop`. */
  readonly client: Redis;
  /** SIGKILL: what the server has not written to disk is gone. */
  kill(): Promise<void>;
  /** Start again on the same data, after `kill`. */
  start(): Promise<void>;
  /** Remove every key, between tests that share a server. */
  flush(): Promise<void>;
  /**
   * End the server and remove its files.
   * @throws when a connection that the tested code opened is still there
   */
  stop(): Promise<void>;
}

/** Time for a closed connection to be noticed by the server. */
const CLOSING_MS = 2_000;
const CLIENT_NAME = "test";

/** A fresh server. Stop it in `afterAll`, or declare it with `await using`. */
export async function startTestRedis(): Promise<TestRedis> {
  const root = await mkdtemp(join(tmpdir(), "gannet-redis-"));
  const paths = { directory: join(root, "data"), socketPath: join(root, "redis.sock") };
  let server: EmbeddedRedis;
  try {
    server = await startEmbeddedRedis(paths);
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
  const { address } = server;
  const client = connectRedis(address, { name: CLIENT_NAME });
  async function stop(): Promise<void> {
    const leaked = await leakedConnections(client).finally(async () => {
      client.disconnect();
      await server.stop();
      await rm(root, { recursive: true, force: true });
    });
    if (leaked.length > 0) throw new Error(`Connections to Redis were left open: ${leaked.join(", ")}`);
  }
  return {
    address,
    client,
    get pid() {
      return server.pid;
    },
    async kill() {
      process.kill(server.pid, "SIGKILL");
      await server.exited;
    },
    async start() {
      server = await startEmbeddedRedis(paths);
      await redisReady(client, { timeoutMs: 10_000 });
    },
    async flush() {
      await client.flushall();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Run the body with a fresh server, and end it afterwards. A failure of the body is what is told. */
export async function withRedis<T>(body: (redis: TestRedis) => Promise<T>): Promise<T> {
  const redis = await startTestRedis();
  let result: T;
  try {
    result = await body(redis);
  } catch (error) {
    await redis.stop().catch(() => {});
    throw error;
  }
  await redis.stop();
  return result;
}

/** Names of the connections other than the test's own. */
async function leakedConnections(client: Redis): Promise<readonly string[]> {
  const deadline = performance.now() + CLOSING_MS;
  for (;;) {
    const clients = String(await client.client("LIST"));
    const names = [...clients.matchAll(/ name=(\S*)/g)].map(([, name]) => name || "(no name)");
    const others = names.filter((name) => name !== CLIENT_NAME);
    if (others.length === 0 || performance.now() > deadline) return others;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
