/** Answers Prometheus, and what watches over the daemon: `/metrics`, `/healthz`, `/readyz`. Nothing of it is secret. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import type { Logger } from "./logger.ts";
import type { MetricsPlace } from "./metrics.ts";

/** Whether the daemon can do its work now, and in what part. */
export interface Readiness {
  readonly ready: boolean;
  /** Shown with the answer, as it is: `{"role": "leader"}`, or why it is not ready. */
  readonly state: Readonly<Record<string, string | number | boolean>>;
}

export interface MetricsServerOptions {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  readonly registry: Registry;
  readonly readiness: () => Readiness | Promise<Readiness>;
  readonly logger: Logger;
}

export interface MetricsServer {
  /** The port it listens on. */
  readonly port: number;
  stop(): Promise<void>;
}

const REQUEST_MS = 10_000;
const CONNECTIONS = 32;

/** @throws Error when it cannot listen there */
export async function createMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host, port, registry, readiness, logger } = options;
  /** Several scrapers at once are one reading. */
  let reading: Promise<string> | undefined;
  const metrics = async (response: ServerResponse) => {
    reading ??= registry.metrics().finally(() => {
      reading = undefined;
    });
    answer(response, 200, registry.contentType, await reading);
  };
  const pages: Readonly<Record<string, (response: ServerResponse) => void | Promise<void>>> = {
    "/metrics": metrics,
    "/healthz": (response) => answerJson(response, 200, { alive: true }),
    "/readyz": async (response) => {
      const { ready, state } = await readiness();
      answerJson(response, ready ? 200 : 503, { ready, ...state });
    },
  };
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    const path = request.url?.split("?", 1)[0] ?? "";
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page === undefined) return answerJson(response, 404, { pages: Object.keys(pages) });
    if (request.method !== "GET" && request.method !== "HEAD") return answerJson(response, 405, {});
    Promise.resolve(page(response)).catch((error: unknown) => {
      logger.error({ err: error, path }, "a page of the metrics could not be made");
      if (!response.headersSent) answerJson(response, 500, {});
    });
  });
  server.maxConnections = CONNECTIONS;
  server.listen({ host, port });
  await once(server, "listening");
  const bound = (server.address() as AddressInfo).port;
  logger.info({ host, port: bound }, "metrics listening");
  return {
    port: bound,
    stop: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/**
 * A port that another takes is no reason for the daemon not to work. @returns undefined where metrics are off, or
 * cannot be listened for
 */
export async function tryMetricsServer(
  place: MetricsPlace,
  options: Omit<MetricsServerOptions, "host" | "port">,
): Promise<MetricsServer | undefined> {
  if (place === false) return undefined;
  try {
    return await createMetricsServer({ ...options, ...place });
  } catch (error) {
    options.logger.error({ err: error, ...place }, "there are no metrics: their port cannot be listened on");
    return undefined;
  }
}

function answerJson(response: ServerResponse, status: number, value: object): void {
  answer(response, status, "application/json", `${JSON.stringify(value)}\n`);
}

function answer(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { "content-type": type }).end(text);
}
