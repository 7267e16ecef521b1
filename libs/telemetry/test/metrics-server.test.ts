import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import {
  createMetricsRegistry,
  createMetricsServer,
  type MetricsServer,
  type Readiness,
  readingGauge,
  silentLogger,
  tryMetricsServer,
} from "../src/index.ts";

const HOST = "127.0.0.1";
const logger = silentLogger();
let server: MetricsServer | undefined;
afterEach(() => server?.stop());

async function start(registry = createMetricsRegistry(false), readiness: () => Readiness = () => ready): Promise<void> {
  server = await createMetricsServer({ host: HOST, port: 0, registry, readiness, logger });
}
const ready: Readiness = { ready: true, state: { role: "leader" } };
const fetchPage = (path: string, init?: RequestInit) => fetch(`http://${HOST}:${server?.port}${path}`, init);

test("the process' own figures are there for Prometheus", async () => {
  await start(createMetricsRegistry({ host: HOST, port: 0 }));
  const answer = await fetchPage("/metrics");
  expect(answer.headers.get("content-type")).toContain("version=0.0.4");
  const text = await answer.text();
  for (const name of ["process_cpu_seconds_total", "nodejs_eventloop_lag_p99_seconds", "process_resident_memory_bytes"])
    expect(text).toMatch(new RegExp(`^${name} \\d`, "m"));
});

test("what cannot be read is absent, and comes back", async () => {
  const registry = createMetricsRegistry(false);
  let broken = false;
  const read = (readings: () => readonly (readonly [Record<string, string>, number])[]) => async () => {
    if (broken) throw new Error("not now");
    return readings();
  };
  readingGauge(
    registry,
    { name: "plain", help: "." },
    read(() => [[{}, 7]]),
  );
  readingGauge(
    registry,
    { name: "labelled", help: ".", labels: ["kind"] },
    read(() => [[{ kind: "a" }, 8]]),
  );
  await start(registry);
  const samples = async () =>
    (await (await fetchPage("/metrics")).text()).split("\n").filter((line) => /^[a-z]/.test(line));
  expect(await samples()).toEqual(["plain 7", 'labelled{kind="a"} 8']);
  broken = true;
  expect(await samples()).toEqual([]);
  broken = false;
  expect(await samples()).toEqual(["plain 7", 'labelled{kind="a"} 8']);
});

test("what does not come in time is absent, and is not asked for twice", async () => {
  const registry = createMetricsRegistry(false);
  let asked = 0;
  readingGauge(registry, { name: "hanging", help: "." }, () => {
    asked += 1;
    return new Promise(() => {});
  });
  readingGauge(registry, { name: "prompt", help: "." }, () => [[{}, 1]]);
  await start(registry);
  const texts = await Promise.all(
    [fetchPage("/metrics"), fetchPage("/metrics")].map(async (page) => (await page).text()),
  );
  for (const text of texts) expect(text.split("\n").filter((line) => /^[a-z]/.test(line))).toEqual(["prompt 1"]);
  expect(asked).toBe(1);
});

test("health and readiness", async () => {
  let readiness: Readiness = ready;
  await start(undefined, () => readiness);
  expect((await fetchPage("/healthz")).status).toBe(200);
  const isReady = await fetchPage("/readyz");
  expect([isReady.status, await isReady.json()]).toEqual([200, { ready: true, role: "leader" }]);
  readiness = { ready: false, state: { reason: "Redis is not reachable" } };
  const isNot = await fetchPage("/readyz?verbose");
  expect([isNot.status, await isNot.json()]).toEqual([503, { ready: false, reason: "Redis is not reachable" }]);
  expect((await fetchPage("/healthz")).status).toBe(200);
});

test("nothing else is answered", async () => {
  await start();
  expect((await fetchPage("/")).status).toBe(404);
  expect((await fetchPage("/constructor")).status).toBe(404);
  expect((await fetchPage("/metrics", { method: "POST" })).status).toBe(405);
});

test("a daemon works without its metrics where their port is taken, or none is wanted", async () => {
  const other = createServer().listen(0, HOST);
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const report = vi.spyOn(logger, "error");
  const options = { registry: createMetricsRegistry(false), readiness: () => ready, logger };
  expect(await tryMetricsServer({ host: HOST, port }, options)).toBeUndefined();
  expect(report).toHaveBeenCalledTimes(1);
  expect(await tryMetricsServer(false, options)).toBeUndefined();
  other.close();
});
