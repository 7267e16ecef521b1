/** Several Redis servers that copy each other, with a Sentinel beside each, over mutual TLS: as master candidates run them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCa, IDENTITY_FILES, issueCertificate } from "@gannet/pki";
import {
  connectRedis,
  type Redis,
  type RedisAddress,
  redisConfiguration,
  redisReady,
  SENTINEL_NAME,
  sentinelConfiguration,
} from "@gannet/redis";

export interface RedisGroupMember {
  readonly port: number;
  readonly pid: number;
  /** Straight to this server, whichever role it has. */
  readonly client: Redis;
  kill(): Promise<void>;
  /** Start again on the same data and the file that the server has kept. */
  start(): Promise<void>;
}

export interface RedisGroup extends AsyncDisposable {
  /** By way of the sentinels; with the rule that as many replicas confirm as make a majority with the primary. */
  readonly address: RedisAddress & { readonly kind: "sentinel" };
  readonly members: readonly RedisGroupMember[];
  /** Of the sentinels, which are started again when they end by themselves. */
  readonly sentinelPorts: readonly number[];
  /** Put a new certificate, for a new key, into the files that all of them were started with. */
  renewCertificate(): Promise<void>;
  /** The one that leads now, as the sentinels say. */
  primary(): Promise<RedisGroupMember>;
}

const HOST = "127.0.0.1";
const PASSWORD = "for-tests-only";
const BINARY = "/usr/bin/redis-server";
/** Much shorter than on real machines, whose disks may be slow. */
const DOWN_AFTER_MS = 1_000;
const WAIT_MS = 500;
const SETTLE_MS = 30_000;

/** @param size - an odd number of machines; each runs a server and a sentinel */
export async function startRedisGroup({ size = 3 } = {}): Promise<RedisGroup> {
  const root = await mkdtemp(join(tmpdir(), "gannet-redis-group-"));
  const ca = await createCa({ dir: join(root, "ca") });
  const tlsDir = join(root, "tls");
  const issue = (...names: readonly string[]) =>
    issueCertificate({ ca, name: "redis", usage: "redis", dir: tlsDir, sans: [HOST, ...names] });
  await issue();
  const file = (name: keyof typeof IDENTITY_FILES) => join(tlsDir, IDENTITY_FILES[name]);
  const tls = { certificateFile: file("cert"), keyFile: file("key"), caFile: file("ca") };
  const text = (name: keyof typeof IDENTITY_FILES) => readFile(file(name), "utf8");
  const secrets = {
    password: PASSWORD,
    ca: await text("ca"),
    certificate: { cert: await text("cert"), key: await text("key") },
  };
  const replicas = Math.floor(size / 2);
  const members: Server[] = [];
  const sentinels: Server[] = [];
  const stop = async () => {
    for (const server of [...sentinels, ...members]) await server.end();
    await rm(root, { recursive: true, force: true });
  };
  try {
    for (let number = 0; number < size; number++) {
      const directory = join(root, `redis-${number}`);
      const first = members[0];
      const port = await freePort();
      const configuration = redisConfiguration({
        directory,
        listen: { address: HOST, port },
        password: PASSWORD,
        tls,
        minReplicasToWrite: replicas,
        ...(first === undefined ? {} : { primary: { address: HOST, port: first.port } }),
      });
      members.push(await Server.make({ directory, port, configuration, args: [], secrets }));
    }
    const [first] = members;
    if (first === undefined) throw new Error("A group needs a member");
    for (let number = 0; number < size; number++) {
      const directory = join(root, `sentinel-${number}`);
      const port = await freePort();
      const configuration = sentinelConfiguration({
        directory,
        listen: { address: HOST, port },
        password: PASSWORD,
        tls,
        name: SENTINEL_NAME,
        primary: { address: HOST, port: first.port },
        quorum: Math.floor(size / 2) + 1,
        downAfterMs: DOWN_AFTER_MS,
      });
      sentinels.push(await Server.make({ directory, port, configuration, args: ["--sentinel"], secrets }));
    }
    await until("every server and sentinel knows all others", async () => {
      const info = await first.client.info("replication");
      if ((info.match(/state=online/g) ?? []).length < size - 1) return false;
      const counts = await Promise.all(sentinels.map((each) => each.client.call("INFO", "sentinel")));
      return counts.every((each) => new RegExp(`slaves=${size - 1},sentinels=${size}`).test(String(each)));
    });
  } catch (error) {
    await stop();
    throw error;
  }
  const places = sentinels.map(({ port }) => ({ host: HOST, port }));
  return {
    address: {
      kind: "sentinel",
      sentinels: places,
      name: SENTINEL_NAME,
      ...secrets,
      replication: { replicas, timeoutMs: WAIT_MS },
    },
    members,
    sentinelPorts: sentinels.map(({ port }) => port),
    async renewCertificate() {
      await issue("renewed");
    },
    async primary() {
      for (const sentinel of sentinels) {
        const said = await sentinel.client.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SENTINEL_NAME);
        const found = members.find(({ port }) => port === Number((said as string[] | null)?.[1]));
        if (found !== undefined) return found;
      }
      throw new Error("No sentinel knows a primary");
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** Wait for a condition. @throws Error naming it when it does not come about in half a minute */
async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`It did not come about that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface ServerFacts {
  readonly directory: string;
  readonly port: number;
  readonly configuration: string;
  readonly args: readonly string[];
  readonly secrets: Pick<RedisAddress, "password" | "ca" | "certificate">;
}

class Server implements RedisGroupMember {
  readonly port: number;
  readonly client: Redis;
  readonly #argv: readonly string[];
  #child: ChildProcess | undefined;

  private constructor({ port, directory, args, secrets }: ServerFacts) {
    this.port = port;
    this.#argv = [join(directory, "server.conf"), ...args];
    this.client = connectRedis({ kind: "url", url: `rediss://${HOST}:${port}`, ...secrets }, { name: "test" });
  }

  static async make(facts: ServerFacts): Promise<Server> {
    await mkdir(facts.directory, { mode: 0o700 });
    await writeFile(join(facts.directory, "server.conf"), facts.configuration, { mode: 0o600 });
    const server = new Server(facts);
    await server.start();
    return server;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(): Promise<void> {
    const child = spawn(BINARY, this.#argv, { stdio: "ignore" });
    this.#child = child;
    // As its service does it; one that was killed stays dead until somebody starts it.
    child.once("exit", (code) => {
      if (code === 0 && this.#child === child) void this.start();
    });
    await redisReady(this.client, { timeoutMs: 10_000 });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  async end(): Promise<void> {
    this.client.disconnect();
    await this.kill();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}
