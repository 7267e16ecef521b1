/** Thousands of clients that wait for jobs: one reader of changes, no polling, and what each costs. */
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { delayJob } from "./ledger-testbed.ts";
import { basicAuth, FENCE, type RapiTestbed, SERVER_NAME, startRapiTestbed } from "./rapi-testbed.ts";

const WAITERS = 2_000;
const JOBS = 20;
const AT_ONCE = 50;
const PATIENCE_MS = 100_000;

let bed: RapiTestbed;
beforeAll(async () => {
  // A busy machine takes longer to open the connections than a wait lasts.
  bed = await startRapiTestbed({ limits: { waitMs: PATIENCE_MS } });
});
afterAll(() => bed[Symbol.asyncDispose]());

/** A connection on which a client waits for a queued job to change. */
async function waitFor(id: number): Promise<TLSSocket> {
  const { port } = bed.server.address;
  const socket = connect({ host: "127.0.0.1", port, ca: bed.identity.ca, servername: SERVER_NAME });
  await once(socket, "secureConnect");
  const body = JSON.stringify({ fields: ["id", "status"], previous_job_info: [id, "queued"] });
  socket.write(
    `GET /2/jobs/${id}/wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${basicAuth("admin")}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  return socket;
}

async function answerOn(socket: TLSSocket): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  expect(text).toMatch(/^HTTP\/1\.1 200 /);
  return JSON.parse(text.slice(text.indexOf("\r\n\r\n")));
}

/** The connections that Redis has; how many of them block just now says nothing, since a reader turns around. */
async function redisConnections(): Promise<number> {
  return Number(/^connected_clients:(\d+)/m.exec(await bed.redis.client.info("clients"))?.[1]);
}

test(`${WAITERS} clients wait, and are told as soon as there is something to tell`, {
  timeout: PATIENCE_MS,
}, async () => {
  const ids = await bed.ledger.submit(Array.from({ length: JOBS }, () => delayJob()));
  await bed.ledger.caughtUp();
  const before = await redisConnections();
  const reads = vi.spyOn(bed.ledger, "get");

  const sockets: TLSSocket[] = [];
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let opened = 0; opened < WAITERS; opened += AT_ONCE) {
    const batch = Array.from({ length: AT_ONCE }, (_, n) => waitFor(ids[(opened + n) % JOBS] ?? 0));
    sockets.push(...(await Promise.all(batch)));
  }
  await vi.waitFor(() => expect(bed.server.waiting).toBe(WAITERS), PATIENCE_MS);

  // They hold nothing in Redis: one connection reads changes for all of them, and nobody asks from time to time.
  expect(await redisConnections()).toBe(before);
  await bed.ledger.caughtUp();
  reads.mockClear();
  for (const id of await bed.ledger.submit(Array.from({ length: 100 }, () => delayJob()))) await bed.ledger.cancel(id);
  await bed.ledger.caughtUp();
  expect(reads).not.toHaveBeenCalled();
  expect(bed.server.waiting).toBe(WAITERS);

  const answers = sockets.map(answerOn);
  for (const id of ids) await bed.ledger.begin(id, 0, FENCE);
  for (const [n, answer] of (await Promise.all(answers)).entries())
    expect(answer).toEqual({ job_info: [ids[n % JOBS], "running"], log_entries: [] });
  expect(reads.mock.calls.length).toBe(JOBS);
  expect(bed.server.waiting).toBe(0);
  reads.mockRestore();
});

test("clients that go away are forgotten", async () => {
  const [id = 0] = await bed.ledger.submit([delayJob()]);
  const sockets = await Promise.all(Array.from({ length: AT_ONCE }, () => waitFor(id)));
  await vi.waitFor(() => expect(bed.server.waiting).toBe(AT_ONCE), PATIENCE_MS);
  for (const socket of sockets) socket.destroy();
  await vi.waitFor(() => expect(bed.server.waiting).toBe(0), PATIENCE_MS);
});

test("a server that stops answers those who wait", async () => {
  const [id = 0] = await bed.ledger.submit([delayJob()]);
  const sockets = await Promise.all(Array.from({ length: AT_ONCE }, () => waitFor(id)));
  await vi.waitFor(() => expect(bed.server.waiting).toBe(AT_ONCE), PATIENCE_MS);
  const answers = sockets.map(answerOn);
  await bed.server.stop();
  expect(new Set(await Promise.all(answers))).toEqual(new Set([null]));
});
