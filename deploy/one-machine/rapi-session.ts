/** The launcher as a client of the cluster's remote API: is it usable, and what happens to guests at a stop. */
import { request } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import type { Credentials } from "./credentials.ts";

const REQUEST_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
/** At a stop a guest gets this long to power off by itself, in seconds. */
const GUEST_STOP_SECONDS = 3;

interface InstanceRow {
  readonly name: string;
  readonly admin_state: string;
  readonly oper_state: boolean | null;
}

export class RapiSession {
  readonly #port: number;
  readonly #credentials: Credentials;
  readonly #ca: Buffer;

  constructor(options: { readonly port: number; readonly credentials: Credentials; readonly ca: Buffer }) {
    this.#port = options.port;
    this.#credentials = options.credentials;
    this.#ca = options.ca;
  }

  /** Wait until the master answers and all agents have reported. @throws Unavailable at the deadline, with what was missing */
  async usable(timeoutMs: number, stop: AbortSignal): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const missing = await this.#missing();
      if (missing === undefined) return;
      if (performance.now() > deadline) throw new Unavailable(`The cluster did not become usable: ${missing}`);
      await delay(POLL_MS, undefined, { signal: stop });
    }
  }

  /** Power off all guests as a machine's shutdown does; that they should run stays recorded. */
  async stopGuests(logger: Logger): Promise<void> {
    const running = (await this.#instances()).filter((row) => row.oper_state === true);
    if (running.length > 0) logger.info({ instances: running.length }, "stopping guests");
    await Promise.all(
      running.map((row) =>
        this.#job(`/2/instances/${row.name}/shutdown?no_remember=1`, { timeout: GUEST_STOP_SECONDS }),
      ),
    );
  }

  /** Start what should run and does not: the guests that a stop has powered off. */
  async resumeGuests(logger: Logger): Promise<void> {
    const wanted = (await this.#instances()).filter((row) => row.admin_state === "up" && row.oper_state === false);
    if (wanted.length > 0) logger.info({ instances: wanted.length }, "starting guests that ran before");
    for (const row of wanted) await this.#request("PUT", `/2/instances/${row.name}/startup?no_remember=1`);
  }

  async #missing(): Promise<string | undefined> {
    try {
      const nodes = (await this.#request("GET", "/2/nodes?bulk=1")) as {
        name: string;
        mtotal: number | null;
        offline: boolean;
      }[];
      const silent = nodes.find((node) => !node.offline && node.mtotal === null);
      return silent === undefined ? undefined : `the agent of ${silent.name} has not reported`;
    } catch (error) {
      return (error as Error).message;
    }
  }

  async #instances(): Promise<readonly InstanceRow[]> {
    return (await this.#request("GET", "/2/instances?bulk=1")) as InstanceRow[];
  }

  async #job(resource: string, body: unknown): Promise<void> {
    const id = (await this.#request("PUT", resource, body)) as number;
    for (;;) {
      const { status } = (await this.#request("GET", `/2/jobs/${id}`)) as { status: string };
      if (["success", "error", "canceled"].includes(status)) return;
      await delay(POLL_MS);
    }
  }

  #request(method: string, resource: string, body?: unknown): Promise<unknown> {
    const payload = body === undefined ? "" : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const call = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          method,
          path: resource,
          ca: this.#ca,
          auth: `${this.#credentials.user}:${this.#credentials.password}`,
          timeout: REQUEST_TIMEOUT_MS,
          headers: { "content-type": "application/json", "content-length": Buffer.byteLength(payload) },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.once("error", reject);
          answer.once("end", () => {
            const text = Buffer.concat(chunks).toString();
            if (answer.statusCode === 200) resolve(JSON.parse(text));
            else
              reject(new Error(`${method} ${resource} was answered with ${answer.statusCode}: ${text.slice(0, 500)}`));
          });
        },
      );
      call.once("timeout", () => call.destroy(new Error(`${method} ${resource} was not answered in time`)));
      call.once("error", reject);
      call.end(payload);
    });
  }
}
