/** The remote API with an executor behind it and scripted nodes: what a client asks for is carried out. */
import { BullWakeQueue, type Job, RedisJobLedger } from "@gannet/job-ledger";
import { silentLogger } from "@gannet/telemetry";
import { vi } from "vitest";
import { Executor } from "../../src/executor/executor.ts";
import { SecretVault } from "../../src/executor/secret-vault.ts";
import { LOGICAL_UNITS, unavailableIn } from "../../src/logical-units/registry.ts";
import { ScriptedNodes } from "../logical-units/scripted-nodes.ts";
import { FENCE, type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

export interface JobBed extends AsyncDisposable {
  readonly rapi: RapiTestbed;
  readonly nodes: ScriptedNodes;
  /** Submit what a request asks for. @throws Error when it is not answered with a job's id */
  submit(method: string, path: string, json?: unknown): Promise<number>;
  /** The same, and wait for the job's end. */
  run(method: string, path: string, json?: unknown): Promise<Job>;
  job(id: number): Promise<Job>;
  /** The job, once it has ended. */
  ended(id: number): Promise<Job>;
  /** Have a job delivered that was submitted past the remote API. */
  wake(id: number): Promise<void>;
}

export async function startJobBed(): Promise<JobBed> {
  await using stack = new AsyncDisposableStack();
  const implemented = new Set(LOGICAL_UNITS.keys());
  const rapi = stack.use(await startRapiTestbed({ implemented, unavailable: unavailableIn }));
  const logger = silentLogger();
  const { address } = rapi.redis;
  const queue: BullWakeQueue = new BullWakeQueue({
    address,
    name: "jobs",
    readyJobs: () => ledger.readyJobs(),
    logger,
  });
  stack.defer(() => queue.close());
  const ledger = new RedisJobLedger({ address, name: "jobs", wakeQueue: queue, logger });
  stack.defer(() => ledger.close());
  const nodes = new ScriptedNodes();
  for (const { uuid, name, secondaryIp } of rapi.configStore.view.nodes.values()) nodes.add(uuid, name, secondaryIp);
  const executor = new Executor({
    ledger,
    queue,
    configStore: rapi.configStore,
    locks: rapi.locks,
    live: rapi.live,
    node: (uuid) => nodes.client(uuid),
    connectAgent: ({ name }) => nodes.named(name).client,
    domainSecret: async () => "",
    units: LOGICAL_UNITS,
    secrets: new SecretVault(),
    fence: FENCE,
    lost: new AbortController().signal,
    logger,
  });
  await executor.start();
  stack.defer(() => executor.stop());
  const parts = stack.move();

  const submit = async (method: string, path: string, json?: unknown) => {
    const reply = await rapi.call(method, path, json === undefined ? {} : { json });
    if (reply.status !== 200 || typeof reply.json !== "number")
      throw new Error(`${method} ${path}: ${reply.status} ${reply.text}`);
    await queue.wake(reply.json, 0);
    return reply.json;
  };
  const job = async (id: number) => {
    const found = await ledger.get(id);
    if (found === undefined) throw new Error(`there is no job ${id}`);
    return found;
  };
  const ended = (id: number) =>
    vi.waitFor(
      async () => {
        const found = await job(id);
        if (!["success", "error"].includes(found.status)) throw new Error(`job ${id} goes on`);
        return found;
      },
      { timeout: 30_000, interval: 5 },
    );
  return {
    rapi,
    nodes,
    submit,
    job,
    wake: (id) => queue.wake(id, 0),
    ended,
    run: async (method, path, json) => await ended(await submit(method, path, json)),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
