/** The master's figures. Those of the cluster come from what each master sees; the leader's are told by `leader`. */
import type { JobLedger } from "@gannet/job-ledger";
import type { LockManager } from "@gannet/locking";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import type { ClientCallEnd } from "@gannet/rpc";
import { Histogram, REQUEST_SECONDS, type Reading, type Registry, readingGauge, WORK_SECONDS } from "@gannet/telemetry";
import type { OpcodeEnd } from "../executor/executor.ts";
import type { RequestEnd } from "../rapi/rapi-deps.ts";
import { OldestJobs } from "./oldest-jobs.ts";

export interface MasterMetricsParts {
  readonly ledger: Pick<JobLedger, "counts" | "get" | "onChange">;
  readonly locks: Pick<LockManager, "list">;
  readonly view: () => ConfigView;
  /** Of the term that this master leads; undefined on a standby. */
  readonly epoch: () => number | undefined;
  /** How long ago a node's agent was heard, in milliseconds; undefined when it is not connected. */
  readonly silenceMs: (node: NodeUuid) => number | undefined;
  /** Resolves when Redis has answered a question that costs it nothing. */
  readonly pingRedis: () => Promise<unknown>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** Methods that clients send and no resource has are one. */
const METHODS: ReadonlySet<string> = new Set(["DELETE", "GET", "POST", "PUT"]);

export class MasterMetrics {
  readonly #registry: Registry;
  readonly #requests: Histogram;
  readonly #opcodes: Histogram;
  readonly #calls: Histogram;
  readonly #oldest: OldestJobs;

  constructor(registry: Registry, parts: MasterMetricsParts) {
    this.#registry = registry;
    const registers = [registry];
    this.#requests = new Histogram({
      name: "gannet_rapi_request_duration_seconds",
      help: "Requests of the remote API, from their headers to their answer; waits for jobs are a route of their own.",
      labelNames: ["method", "route", "status"],
      buckets: [...REQUEST_SECONDS],
      registers,
    });
    this.#opcodes = new Histogram({
      name: "gannet_opcode_duration_seconds",
      help: "Opcodes that this master has carried out, from their locks to their result.",
      labelNames: ["opcode", "result"],
      buckets: [...WORK_SECONDS],
      registers,
    });
    this.#calls = new Histogram({
      name: "gannet_rpc_client_duration_seconds",
      help: "Calls of node agents, by what came of them: ok, error (the agent refused or failed), unreachable, canceled.",
      labelNames: ["method", "outcome"],
      buckets: [...REQUEST_SECONDS, 60, 600],
      registers,
    });
    this.#oldest = new OldestJobs(parts.ledger);
    this.#readQueue(parts);
    this.#readLocks(parts);
    this.#readCluster(parts);
  }

  close(): void {
    this.#oldest.close();
  }

  requestEnded({ route = "none", method, status, ms }: RequestEnd): void {
    const labels = { method: METHODS.has(method) ? method : "other", route, status: String(status) };
    this.#requests.observe(labels, ms / 1000);
  }

  opcodeEnded({ opcode, result, ms }: OpcodeEnd): void {
    this.#opcodes.observe({ opcode, result }, ms / 1000);
  }

  callEnded({ method, outcome, durationMs }: ClientCallEnd): void {
    this.#calls.observe({ method, outcome }, durationMs / 1000);
  }

  #readQueue({ ledger, clock }: MasterMetricsParts): void {
    readingGauge(
      this.#registry,
      { name: "gannet_jobs", help: "Jobs that are not archived, by status.", labels: ["status"] },
      async () => Object.entries(await ledger.counts()).map(([status, count]): Reading => [{ status }, count]),
    );
    readingGauge(
      this.#registry,
      {
        name: "gannet_job_oldest_age_seconds",
        help: "How long ago the oldest job of each status that is not over was submitted.",
        labels: ["status"],
      },
      async () =>
        (await this.#oldest.find()).map(
          ({ status, receivedMs }): Reading => [{ status }, Math.max(0, clock() - receivedMs) / 1000],
        ),
    );
  }

  #readLocks({ locks, clock }: MasterMetricsParts): void {
    let list: ReturnType<LockManager["list"]> | undefined;
    // Both gauges of one scrape are one list.
    const listed = () => {
      list ??= locks.list().finally(() => {
        list = undefined;
      });
      return list;
    };
    readingGauge(
      this.#registry,
      { name: "gannet_lock_waiters", help: "Jobs that wait for a lock, by the lock's level.", labels: ["level"] },
      async () => {
        const waiting = (await listed()).flatMap(({ name, pending }) =>
          pending.map(({ owner }) => ({ level: name.split("/", 1)[0] ?? "", owner })),
        );
        const byLevel = Map.groupBy(waiting, ({ level }) => level);
        return [...byLevel].map(([level, all]): Reading => [{ level }, new Set(all.map(({ owner }) => owner)).size]);
      },
    );
    readingGauge(
      this.#registry,
      { name: "gannet_lock_oldest_wait_seconds", help: "How long the job that waits longest for a lock has waited." },
      async () => {
        const since = (await listed()).flatMap(({ pending }) => pending.map(({ sinceMs }) => sinceMs));
        return [[{}, since.length === 0 ? 0 : Math.max(0, clock() - Math.min(...since)) / 1000]];
      },
    );
  }

  #readCluster({ view, epoch, silenceMs, pingRedis }: MasterMetricsParts): void {
    const gauge = (name: string, help: string, read: () => number | undefined | Promise<number | undefined>) =>
      readingGauge(this.#registry, { name, help }, async () => {
        const value = await read();
        return value === undefined ? [] : [[{}, value]];
      });
    gauge("gannet_master_leader", "1 on the master that leads, 0 on one that stands by.", () =>
      epoch() === undefined ? 0 : 1,
    );
    gauge("gannet_master_epoch", "Epoch of the leader, where this master is it.", epoch);
    gauge("gannet_config_serial", "Serial of the configuration that this master has.", () => view().serial);
    gauge("gannet_redis_round_trip_seconds", "How long Redis takes to answer a ping.", async () => {
      const startedMs = performance.now();
      await pingRedis();
      return (performance.now() - startedMs) / 1000;
    });
    readingGauge(
      this.#registry,
      { name: "gannet_instances", help: "Instances by the state that they should be in.", labels: ["admin_state"] },
      () => {
        const byState = Map.groupBy(view().instances.values(), ({ adminState }) => adminState);
        return [...byState].map(([state, all]): Reading => [{ admin_state: state }, all.length]);
      },
    );
    readingGauge(
      this.#registry,
      {
        name: "gannet_node_silence_seconds",
        help: "How long ago a node's agent was heard; absent while it is not connected, or offline.",
        labels: ["node"],
      },
      () =>
        [...view().nodes.values()].flatMap(({ uuid, name, offline }): Reading[] => {
          const silence = offline ? undefined : silenceMs(uuid);
          return silence === undefined ? [] : [[{ node: name }, silence / 1000]];
        }),
    );
    readingGauge(
      this.#registry,
      {
        name: "gannet_nodes",
        help: "Nodes: offline, connected (their agents are heard), or silent.",
        labels: ["state"],
      },
      () => {
        const stateOf = (uuid: NodeUuid, offline: boolean) =>
          offline ? "offline" : silenceMs(uuid) === undefined ? "silent" : "connected";
        const states = [...view().nodes.values()].map(({ uuid, offline }) => stateOf(uuid, offline));
        return ["offline", "connected", "silent"].map(
          (state): Reading => [{ state }, states.filter((other) => other === state).length],
        );
      },
    );
  }
}
