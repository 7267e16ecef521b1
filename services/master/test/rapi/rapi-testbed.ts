/** The remote API as it runs in the master, over a real Redis and real TLS, with a client that sends anything. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, type RequestOptions, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { initialiseConfiguration, RedisConfigStore, RedisLeaderNotes } from "@gannet/config-store";
import { NodeUnreachable } from "@gannet/errors";
import type { OpcodeInput, RedisJobLedger } from "@gannet/job-ledger";
import { MasterRoster, RedisLeaderElection, RedisLockManager } from "@gannet/locking";
import { OPCODES } from "@gannet/opcodes";
import { createCa, type Identity, issueCertificate, loadIdentity } from "@gannet/pki";
import { EPOCH_KEY, type RedisAddress } from "@gannet/redis";
import type { InstanceConsole } from "@gannet/rpc";
import { type Logger, silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { Masters } from "../../src/leadership/masters.ts";
import { MemoryLiveState } from "../../src/live-state/live-state.ts";
import type { RapiDeps } from "../../src/rapi/rapi-deps.ts";
import {
  createRapiServer,
  type RapiLimits,
  type RapiServer,
  type RapiServerOptions,
} from "../../src/rapi/rapi-server.ts";
import { guest, NODE1, NODE2, smallCluster, snapshot, uuidOf } from "./cluster-fixture.ts";
import { requireDocumented } from "./documented.ts";
import { openLedger } from "./ledger-testbed.ts";

export const FENCE = { epoch: 1 } as const;
export const SERVER_NAME = "cluster.gnt.test";

export const USERS = `
admin {cleartext}secret write
operator peek read
reader readonly
`;

export interface Call {
  /** `admin` when absent; null sends no credentials. */
  readonly user?: "admin" | "operator" | "reader" | null;
  /** Sent as JSON with its content type. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly raw?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Undefined when the text is no JSON. */
  readonly json: unknown;
}

export interface RapiTestbed extends AsyncDisposable {
  readonly server: RapiServer;
  readonly identity: Identity;
  readonly configStore: RedisConfigStore;
  readonly redis: TestRedis;
  readonly ledger: RedisJobLedger;
  readonly locks: RedisLockManager;
  readonly live: MemoryLiveState;
  /** Whether this master leads the cluster; it does at first. */
  leads: boolean;
  readonly usersFile: string;
  /** What an agent is to answer when it is asked for a console. */
  consoleOf: (name: string) => Promise<InstanceConsole>;
  call(method: string, path: string, call?: Call): Promise<Reply>;
  get(path: string, call?: Call): Promise<Reply>;
  /** An open TLS connection, for bytes that no HTTP client sends. */
  connect(): Promise<TLSSocket>;
  /** Send bytes on a connection of their own and read until the server closes it. */
  exchange(bytes: string | Buffer): Promise<Reply>;
}

const PASSWORDS = { admin: "secret", operator: "peek", reader: "readonly" } as const;

export function basicAuth(user: keyof typeof PASSWORDS): string {
  return `Basic ${Buffer.from(`${user}:${PASSWORDS[user]}`).toString("base64")}`;
}

export async function startRapiTestbed(
  options: {
    readonly limits?: Partial<RapiLimits>;
    readonly logger?: Logger;
    readonly implemented?: ReadonlySet<string>;
    readonly unavailable?: (opcode: OpcodeInput) => string | undefined;
    readonly users?: string;
    readonly clock?: () => number;
    readonly audit?: RapiDeps["audit"];
    /** A test that guesses often is not kept waiting, unless it says so. */
    readonly loginLimits?: RapiServerOptions["loginLimits"];
    readonly rootParameters?: RapiServerOptions["rootParameters"];
    /** Of jobs; those of the bed's own Redis when absent. */
    readonly ledgerAddress?: RedisAddress;
    /** Where requests go that the leader answers, while the bed does not lead; it answers all of them when absent. */
    readonly forwarding?: RapiDeps["forwarding"];
  } = {},
): Promise<RapiTestbed> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "gannet-rapi-"));
  stack.defer(() => rm(folder, { recursive: true }));
  const usersFile = join(folder, "users");
  await writeFile(usersFile, options.users ?? USERS, { mode: 0o600 });
  const identity = await rapiIdentity(folder);
  const redis = stack.use(await startTestRedis());
  const logger = silentLogger();
  await redis.client.set(EPOCH_KEY, FENCE.epoch);
  await initialiseConfiguration(redis.client, smallCluster());
  const configStore = await RedisConfigStore.open({ address: redis.address, name: "test", logger });
  stack.defer(() => configStore.close());
  const ledger = openLedger(options.ledgerAddress ?? redis.address, logger);
  stack.defer(() => ledger.close());
  const locks = new RedisLockManager(redis.client);
  const live = new MemoryLiveState();
  live.apply(uuidOf(NODE1), snapshot(NODE1));
  live.apply(uuidOf(NODE2), snapshot(NODE2, [guest("inst1.gnt.test")]));
  let consoleOf = async (_name: string): Promise<InstanceConsole> => {
    throw new Error("no test has said what the agent answers");
  };
  let leads = true;
  const server = await createRapiServer(
    {
      configStore,
      leader: { current: () => (leads ? FENCE : undefined) },
      ledger,
      submit: (jobs, key) => ledger.submit(jobs, key),
      locks,
      liveState: live,
      notes: new RedisLeaderNotes(redis.client),
      watcher: { enabled: true, intervalMs: 30_000, verifyDisksMs: 300_000, hooksMs: 300_000 },
      automaticFailover: { enabled: false, afterMs: 60_000, selfFenceMs: 0 },
      masters: new Masters({
        roster: new MasterRoster(redis.client),
        election: new RedisLeaderElection(redis.client, { holder: "node1" }),
        self: "node1",
        tell: () => ({ address: "127.0.0.1:5080", version: "0.1.0", serial: configStore.view.serial }),
        logger,
      }),
      implemented: options.implemented ?? new Set(OPCODES.keys()),
      ...(options.unavailable === undefined ? {} : { unavailable: options.unavailable }),
      logger: options.logger ?? logger,
      usersFile,
      tls: identity,
      console: (name) => consoleOf(name),
      exportsOn: async (node) => {
        if (node === uuidOf(NODE2)) throw new NodeUnreachable(NODE2, `${NODE2} does not answer`);
        return ["inst1.gnt.test"];
      },
      clock: options.clock ?? Date.now,
      ...(options.audit === undefined ? {} : { audit: options.audit }),
      ...(options.forwarding === undefined ? {} : { forwarding: options.forwarding }),
    },
    {
      ...{ host: "127.0.0.1", port: 0 },
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.rootParameters === undefined ? {} : { rootParameters: options.rootParameters }),
      loginLimits: options.loginLimits ?? { failures: 1_000_000, windowMs: 1_000, longestWaitMs: 1_000 },
    },
  );
  stack.defer(() => server.stop({ graceMs: 0 }));
  const agent = new Agent({ keepAlive: true, ca: identity.ca, servername: SERVER_NAME, maxSockets: 64 });
  stack.defer(() => agent.destroy());
  const call = (method: string, path: string, what: Call = {}) =>
    send({ agent, host: "127.0.0.1", port: server.address.port, method, path }, what);
  const open = async () => {
    const socket = connect({ host: "127.0.0.1", port: server.address.port, ca: identity.ca, servername: SERVER_NAME });
    await once(socket, "secureConnect");
    return socket;
  };
  const resources = stack.move();
  return {
    server,
    identity,
    configStore,
    redis,
    ledger,
    locks,
    live,
    usersFile,
    get leads() {
      return leads;
    },
    set leads(value) {
      leads = value;
    },
    get consoleOf() {
      return consoleOf;
    },
    set consoleOf(answer) {
      consoleOf = answer;
    },
    call,
    get: (path, what) => call("GET", path, what),
    connect: open,
    exchange: async (bytes) => {
      const socket = await open();
      socket.write(bytes);
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk);
      const reply = replyOf(Buffer.concat(chunks).toString());
      const [, method, target] = /^([A-Z]+) (\/\S*) HTTP\//.exec(bytes.toString()) ?? [];
      // Chunks, or what else came on the connection, are in the text too, which then is no JSON.
      if (reply.json !== undefined && method !== undefined && target !== undefined)
        requireDocumented(method, target, reply);
      return reply;
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A certificate of the server, and the authority that signed it, in files below `folder`. */
export async function rapiIdentity(folder: string): Promise<Identity> {
  const dir = join(folder, "tls");
  const ca = await createCa({ dir: join(folder, "ca") });
  await issueCertificate({ ca, name: SERVER_NAME, sans: ["127.0.0.1"], usage: "rapi", dir });
  return await loadIdentity(dir);
}

/** Send one request and read its whole answer. @throws Error where that is not as the OpenAPI document says */
export async function send(options: RequestOptions, { user = "admin", json, raw, headers = {} }: Call): Promise<Reply> {
  const body = json === undefined ? raw : JSON.stringify(json);
  const sending = request({
    ...options,
    headers: {
      ...(user === null ? {} : { Authorization: basicAuth(user) }),
      ...(json === undefined ? {} : { "Content-Type": "application/json" }),
      ...(body === undefined ? {} : { "Content-Length": Buffer.byteLength(body) }),
      ...headers,
    },
  });
  // A server that refuses early may close while the rest is being sent; what counts is that it answered.
  const failure = new Promise<never>((_resolve, reject) => sending.on("error", reject));
  failure.catch(() => undefined);
  sending.end(body);
  const [response] = await Promise.race([once(sending, "response"), failure]);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const reply = { status: response.statusCode, headers: response.headers, text, json: parsed(text) };
  requireDocumented(options.method ?? "GET", options.path ?? "/", reply);
  return reply;
}

/** A whole response as it stood on the wire. */
function replyOf(wire: string): Reply {
  const end = wire.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = wire.slice(0, end).split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const text = wire.slice(end + 4);
  return { status: Number(statusLine.split(" ")[1]), headers, text, json: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
