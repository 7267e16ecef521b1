import { Unavailable } from "@gannet/errors";
import { connectRedis, type Redis, redisReady, redisUnavailable } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";

/** Time enough for a machine that is busy with other tests. */
const PATIENT = { timeout: 20_000 };

let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.flush();
  redis = connectRedis(server.address, { name: "under-test" });
});
afterEach(() => redis.disconnect());

/** The error that the promise is refused with, as a caller of this package would throw it. */
async function refusal(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => new Error(`it answered ${JSON.stringify(value)}`),
    (error: unknown) => redisUnavailable(error),
  );
  return outcome;
}

describe("a lost connection", () => {
  test("commands are refused within a bound while Redis is away, and work again when it is back", async () => {
    await redis.set("key", "1");
    await server.kill();
    const begin = performance.now();
    const error = await refusal(redis.get("key"));
    expect(error).toBeInstanceOf(Unavailable);
    expect(performance.now() - begin).toBeLessThan(3_000);

    await server.start();
    await redisReady(redis, { timeoutMs: 5_000 });
    expect(await redis.get("key")).toBe("1");
  });

  test("a command whose answer was lost is not sent a second time", async () => {
    await redis.ping();
    process.kill(server.pid, "SIGSTOP");
    const lost = refusal(redis.incr("counter"));
    await server.kill();
    expect(await lost).toBeInstanceOf(Unavailable);
    await server.start();
    await redisReady(redis, { timeoutMs: 5_000 });
    expect(await redis.get("counter")).toBeNull();
  });

  test("a command sent before the first connection waits for it", async () => {
    const early = connectRedis(server.address, { name: "early" });
    expect(await early.ping()).toBe("PONG");
    early.disconnect();
  });

  test("a blocking connection keeps its command over a restart of Redis", async () => {
    const blocking = connectRedis(server.address, { name: "blocking", blocking: true });
    const popped = blocking.blpop("list", 0);
    await vi.waitFor(async () => expect(String(await server.client.client("LIST"))).toContain("cmd=blpop"), PATIENT);
    await server.kill();
    await server.start();
    await server.client.rpush("list", "value");
    expect(await popped).toEqual(["list", "value"]);
    blocking.disconnect();
  });

  test("the loss and the return are each logged once", async () => {
    const logger = { warn: vi.fn(), info: vi.fn() };
    const logged = connectRedis(server.address, { name: "logged", logger: logger as unknown as Logger });
    await logged.ping();
    await server.kill();
    await refusal(logged.ping());
    await refusal(logged.ping());
    await server.start();
    await redisReady(logged, { timeoutMs: 5_000 });
    await vi.waitFor(() => expect(logger.info).toHaveBeenCalledOnce(), PATIENT);
    expect(logger.warn).toHaveBeenCalledOnce();
    logged.disconnect();
  });
});

describe("a server in trouble", () => {
  test("a wrong password is Unavailable and is neither told nor logged", async () => {
    const logger = { warn: vi.fn(), info: vi.fn() };
    await server.client.config("SET", "requirepass", "right");
    const intruder = connectRedis(
      { ...server.address, password: "hunter2" },
      { name: "intruder", logger: logger as unknown as Logger },
    );
    const error = await refusal(intruder.ping());
    intruder.disconnect();
    await server.client.config("SET", "requirepass", "");
    expect(error).toBeInstanceOf(Unavailable);
    expect(error.message).toContain("password");
    expect(logger.warn).toHaveBeenCalled();
    expect(`${error.stack} ${error.cause} ${JSON.stringify(logger.warn.mock.calls)}`).not.toContain("hunter2");
  });

  test("full memory", async () => {
    await server.client.config("SET", "maxmemory", "1");
    const error = await refusal(redis.set("key", "value"));
    await server.client.config("SET", "maxmemory", "0");
    expect(error).toBeInstanceOf(Unavailable);
    expect(error.message).toContain("memory limit");
  });

  test("a read-only replica", async () => {
    await server.client.replicaof("127.0.0.1", 1);
    const error = await refusal(redis.set("key", "value"));
    await server.client.replicaof("NO", "ONE");
    expect(error).toBeInstanceOf(Unavailable);
    expect(error.message).toContain("read-only");
  });

  test("a long script", async () => {
    await server.client.config("SET", "busy-reply-threshold", "10");
    const endless = refusal(server.client.eval("while true do end", 0));
    const error = await vi.waitFor(async () => {
      const seen = await refusal(redis.get("key"));
      expect(seen).toBeInstanceOf(Unavailable);
      return seen;
    }, PATIENT);
    await redis.script("KILL");
    await endless;
    await server.client.config("SET", "busy-reply-threshold", "5000");
    expect(error.message).toContain("long script");
  });

  test("a command that is itself wrong stays what it is", async () => {
    const error = await refusal(redis.call("NONSENSE") as Promise<unknown>);
    expect(error).not.toBeInstanceOf(Unavailable);
    expect(error.message).toContain("unknown command");
  });
});
