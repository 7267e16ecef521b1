/** A master that is asked anything: its remote API, its executor, Redis, and scripted nodes with instances on them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RedisLeaderNotes } from "@gannet/config-store";
import type { Job, JobId } from "@gannet/job-ledger";
import { MasterRoster, RedisLeaderElection } from "@gannet/locking";
import type { Cluster } from "@gannet/objects";
import { type Logger, silentLogger } from "@gannet/telemetry";
import { vi } from "vitest";
import { Masters } from "../../src/leadership/masters.ts";
import { LOGICAL_UNITS, unavailableIn } from "../../src/logical-units/registry.ts";
import { createRapiServer } from "../../src/rapi/rapi-server.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import { type Reply, rapiIdentity, SERVER_NAME, send, USERS } from "../rapi/rapi-testbed.ts";
import type { FuzzRequest } from "./fuzz-requests.ts";
import { INSTANCES } from "./words.ts";

/** How long what has been accepted may take, all of it together. */
const SETTLE_MS = 60_000;

const UNFINISHED = ["queued", "waiting", "canceling", "running"] as const;

/** What a refused request must not change. */
export interface Marks {
  readonly serial: number;
  readonly lastJob: JobId;
}

export interface FuzzBed extends AsyncDisposable {
  readonly units: LogicalUnitBed;
  /** What was logged as an error: defects, all of them. */
  readonly defects: readonly string[];
  ask(request: Pick<FuzzRequest, "method" | "target" | "text">): Promise<Reply>;
  marks(): Promise<Marks>;
  /** Let jobs run whatever filters and drains say, and wait until none is left. @throws Error naming those that are */
  settle(): Promise<void>;
  /** The jobs after this one. */
  jobsAfter(id: JobId): Promise<readonly Job[]>;
  /** What nodes have and the configuration does not know. */
  strays(): readonly string[];
}

export interface FuzzBedOptions {
  readonly cluster?: Partial<Cluster>;
  /** What is there before the first request. */
  readonly populate?: (units: LogicalUnitBed) => Promise<void>;
}

export async function startFuzzBed({
  cluster = { drbdUsermodeHelper: "/bin/true" },
  populate = instancesOfThreeKinds,
}: FuzzBedOptions = {}): Promise<FuzzBed> {
  await using stack = new AsyncDisposableStack();
  const defects: string[] = [];
  const logger = defectLogger(defects);
  const units = stack.use(await startLogicalUnitBed(cluster, { logger }));
  const folder = await mkdtemp(join(tmpdir(), "gannet-fuzz-"));
  stack.defer(() => rm(folder, { recursive: true }));
  const usersFile = join(folder, "users");
  await writeFile(usersFile, USERS, { mode: 0o600 });
  const tls = await rapiIdentity(folder);
  const { configStore, ledger, locks, live, secrets } = units;
  const server = await createRapiServer(
    {
      ...{ configStore, ledger, locks, liveState: live, logger, usersFile, tls, clock: Date.now },
      notes: new RedisLeaderNotes(units.redis.client),
      watcher: { enabled: true, intervalMs: 30_000, verifyDisksMs: 300_000, hooksMs: 300_000 },
      automaticFailover: { enabled: false, afterMs: 60_000, selfFenceMs: 0 },
      masters: new Masters({
        roster: new MasterRoster(units.redis.client),
        election: new RedisLeaderElection(units.redis.client, { holder: "node1" }),
        self: "node1",
        tell: () => ({ address: "127.0.0.1:5080", version: "0.1.0", serial: configStore.view.serial }),
        logger,
      }),
      leader: { current: () => ({ epoch: 1 }) },
      submit: (jobs, key) => secrets.submit(jobs, (stored) => ledger.submit(stored, key)),
      implemented: new Set(LOGICAL_UNITS.keys()),
      unavailable: unavailableIn,
      console: async () => ({ kind: "msg", message: "none", command: [], port: 0, display: 0 }),
      exportsOn: async () => [],
    },
    { host: "127.0.0.1", port: 0, limits: { waitMs: 20 } },
  );
  stack.defer(() => server.stop({ graceMs: 0 }));
  const agent = new Agent({ keepAlive: true, ca: tls.ca, servername: SERVER_NAME, maxSockets: 16 });
  stack.defer(() => agent.destroy());
  await populate(units);
  const parts = stack.move();

  const settle = async () => {
    await ledger.setDrained(false);
    await configStore.commit(
      (view) => [...view.filters.values()].map((filter) => ({ kind: "filter" as const, remove: filter })),
      { epoch: 1 },
    );
    await vi.waitFor(
      async () => {
        const counts = await ledger.counts();
        if (UNFINISHED.some((status) => counts[status] > 0)) throw new Error(await describeStuck(units));
      },
      { timeout: SETTLE_MS, interval: 2 },
    );
  };
  return {
    units,
    defects,
    settle,
    ask: ({ method, target, text }) =>
      send(
        { agent, host: "127.0.0.1", port: server.address.port, method, path: target },
        text === undefined ? {} : { raw: text, headers: { "Content-Type": "application/json" } },
      ),
    marks: async () => ({ serial: configStore.view.serial, lastJob: await ledger.lastId() }),
    jobsAfter: async (after) => [...(await ledger.list({ after })), ...(await ledger.list({ after, archived: true }))],
    strays: () => straysOf(units),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Instances of three kinds, a second node group and a network, for the first requests to find. */
async function instancesOfThreeKinds(units: LogicalUnitBed): Promise<void> {
  const [mirrored, plain, file] = INSTANCES;
  const [node1, node2, node3] = NODES;
  const common = { mode: "create", os_type: "noop", hypervisor: "fake", nics: [{}], disks: [{ size: 1024 }] };
  for (const more of [
    { instance_name: mirrored, disk_template: "drbd", pnode: node1, snode: node2 },
    { instance_name: plain, disk_template: "plain", pnode: node2 },
    { instance_name: file, disk_template: "file", pnode: node3, start: false },
  ])
    await units.succeed("OP_INSTANCE_CREATE", { ...common, ...more });
  await units.succeed("OP_GROUP_ADD", { group_name: "other" });
  await units.succeed("OP_NETWORK_ADD", { network_name: "net1", network: "10.1.0.0/28" });
}

/** Says nothing, and keeps what is logged as an error. */
function defectLogger(defects: string[]): Logger {
  const logger = silentLogger();
  const keep = (what: unknown, message?: string) => {
    const { err, ...rest } = (typeof what === "object" ? what : { message: what }) as { readonly err?: unknown };
    defects.push(`${message ?? ""} ${JSON.stringify(rest)} ${err instanceof Error ? err.stack : String(err)}`);
  };
  return Object.assign(logger, { error: keep, fatal: keep, child: () => logger });
}

async function describeStuck({ ledger }: LogicalUnitBed): Promise<string> {
  const jobs = (await ledger.list({})).filter(({ status }) => (UNFINISHED as readonly string[]).includes(status));
  return `jobs that do not end: ${JSON.stringify(jobs.map(({ id, status, opcodes }) => ({ id, status, opcodes })))}`;
}

function straysOf({ nodes, view }: LogicalUnitBed): readonly string[] {
  const places = new Map<string, ReadonlySet<string>>(
    [...view.disks.values()].flatMap(({ uuid, nodes: on, children }) =>
      [uuid, ...children.map((child) => child.uuid)].map((each) => [each, new Set(on)] as const),
    ),
  );
  const instances = new Set([...view.instances.values()].map(({ name }) => name));
  return nodes.all().flatMap(({ name, volumes, ends, guests }) => {
    const row = view.findNode(name);
    const belongs = (disk: string) => row !== undefined && places.get(disk)?.has(row.uuid) === true;
    const strayVolumes = [...volumes].filter(([, { owner }]) => owner !== undefined && !belongs(owner));
    const strayEnds = [...ends].filter(([, { disk }]) => !belongs(disk));
    const strayGuests = [...guests].filter((guest) => !instances.has(guest));
    if (row?.offline) {
      // What is removed while a node is away stays there, for its operator to clear away.
      for (const [id] of strayVolumes) volumes.delete(id);
      for (const [minor] of strayEnds) ends.delete(minor);
      for (const guest of strayGuests) guests.delete(guest);
      return [];
    }
    return [
      ...strayVolumes.map(([id]) => `${name}: ${id}`),
      ...strayEnds.map(([minor]) => `${name}: DRBD minor ${minor}`),
      ...strayGuests.map((guest) => `${name}: guest ${guest}`),
    ];
  });
}
