/** How the Redis of a machine and the Sentinel beside it come by certificates that were renewed while they run. */
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import type { Redis } from "ioredis";
import type { RedisSecrets } from "./connection.ts";
import { atServer } from "./server-control.ts";

/** Its supervisor waits a second before it starts it again. */
const BACK_MS = 20_000;
const LOOK_MS = 100;

/**
 * Have a Redis read its certificate, its key and the authorities that it trusts anew. New connections get them, those
 * that are open go on. Files that do not fit each other are refused, and change nothing.
 * @param place - `host:port`
 * @throws Unavailable, and what the server says of its files
 */
export async function reloadCertificates(place: string, secrets: RedisSecrets): Promise<void> {
  await atServer(place, secrets, async (server) => {
    // One of the names is enough, and its value may be the same as before: all files are read (tried with 7.0).
    const [name = "", file = ""] = (await server.call("CONFIG", "GET", "tls-cert-file")) as readonly string[];
    await server.call("CONFIG", "SET", name, file);
  });
}

/**
 * Have a Sentinel read its files, which it does only when it starts (7.0 has no command for it): one that has started
 * before they were changed is ended in order, and whoever supervises it starts it again. What it knows is on its disk.
 * @param place - `host:port`
 * @param changedMs - milliseconds since 1970
 * @returns whether that was needed
 * @throws Unavailable when it is not there, or does not come back
 */
export async function restartSentinel(place: string, secrets: RedisSecrets, changedMs: number): Promise<boolean> {
  const before = await atServer(place, secrets, async (sentinel) => {
    const run = await runOf(sentinel);
    // In whole seconds: one that has started within the same second counts as older.
    if (run.startedMs >= changedMs) return undefined;
    // The answer is the end of the connection.
    await sentinel.call("SHUTDOWN").catch(() => undefined);
    return run;
  });
  if (before === undefined) return false;
  const isBack = () =>
    atServer(place, secrets, runOf).then(
      ({ id }) => id !== before.id,
      () => false,
    );
  const deadline = performance.now() + BACK_MS;
  while (!(await isBack())) {
    if (performance.now() > deadline)
      throw new Unavailable(
        `Sentinel at ${place} was ended to take its new certificate, and nothing has started it again`,
      );
    await delay(LOOK_MS);
  }
  return true;
}

/** One life of a server's process: a name that no other one has, and its beginning in milliseconds since 1970. */
async function runOf(server: Redis): Promise<{ readonly id: string; readonly startedMs: number }> {
  const text = await server.info("server");
  const field = (name: string) => new RegExp(`^${name}:(\\w+)`, "m").exec(text)?.[1] ?? "";
  const nowS = Math.floor(Number(field("server_time_usec")) / 1_000_000);
  return { id: field("run_id"), startedMs: (nowS - Number(field("uptime_in_seconds"))) * 1000 };
}
