/** Three machines, each with Redis, Sentinel, a master and an agent: a cluster that survives the death of any of them. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { initialiseConfiguration } from "@gannet/config-store";
import { DEFAULT_POLICY, type GroupUuid, type NodeUuid, newCluster, newNode } from "@gannet/objects";
import { createCa } from "@gannet/pki";
import { connectRedis, parseRedisAddress, type RedisAddress, redisReady } from "@gannet/redis";
import { type RapiAnswer, requireDocumented } from "../rapi-client.ts";
import { type ClusterFacts, DAEMONS, Machine } from "./machine.ts";
import { CLUSTER_DEVICE, Network } from "./network.ts";
import { bundlePrograms, type Programs } from "./programs.ts";

const USER = "admin";
const REQUEST_TIMEOUT_MS = 10_000;
const HEALTH_TIMEOUT_MS = 90_000;
const FILE_STORAGE_DIR = "/srv/ganeti/file-storage";

export interface MasterList {
  readonly leader: string | null;
  readonly epoch: number | null;
  readonly masters: readonly { readonly name: string; readonly role: string; readonly health: string }[];
}

export interface Ask {
  readonly body?: unknown;
  /** `Idempotency-Key`. */
  readonly key?: string;
}

export class HaCluster implements AsyncDisposable {
  readonly machines: readonly Machine[];
  readonly network: Network;
  readonly #facts: ClusterFacts;
  readonly #password: string;

  private constructor(facts: ClusterFacts, password: string) {
    this.#facts = facts;
    this.#password = password;
    this.network = facts.network;
    this.machines = Array.from({ length: facts.size }, (_, each) => new Machine(each + 1, facts));
  }

  /** Up, with a leader, and with all nodes heard of, when it resolves. */
  static async start({ size = 3 } = {}): Promise<HaCluster> {
    const root = await mkdtemp(path.join(tmpdir(), "gannet-ha-"));
    const network = await Network.create(size);
    const password = randomBytes(12).toString("hex");
    const facts: ClusterFacts = {
      network,
      size,
      root,
      programs: await bundlePrograms(path.join(root, "programs")),
      ca: await createCa({ dir: path.join(root, "ca") }),
      redisPassword: randomBytes(24).toString("hex"),
      users: `${USER} {cleartext}${password} write,root\n`,
      domainSecret: randomBytes(20).toString("hex"),
    };
    const cluster = new HaCluster(facts, password);
    try {
      for (const machine of cluster.machines) {
        await machine.setUp();
        await machine.start("redis");
      }
      await cluster.#initialise();
      for (const machine of cluster.machines) await machine.start(...DAEMONS);
      await cluster.healthy();
      return cluster;
    } catch (error) {
      const told = await cluster.lastWords();
      await cluster[Symbol.asyncDispose]();
      throw new Error(`the cluster did not come up: ${told}`, { cause: error });
    }
  }

  machine(name: string): Machine {
    const found = this.machines.find((machine) => machine.name === name);
    if (found === undefined) throw new Error(`There is no machine ${name}`);
    return found;
  }

  others(machine: Machine): readonly Machine[] {
    return this.machines.filter((each) => each !== machine);
  }

  /** Ask the master on a machine, by its side address. @throws when it does not answer */
  rapi(machine: Machine, method: string, resource: string, { body, key }: Ask = {}): Promise<RapiAnswer> {
    return ask(machine.sideAddress, method, resource, {
      auth: `${USER}:${this.#password}`,
      headers: key === undefined ? {} : { "idempotency-key": key },
      ...(body === undefined ? {} : { body }),
    });
  }

  /** Who leads, as the master on that machine knows. */
  async masters(machine: Machine): Promise<MasterList> {
    const { status, body } = await this.rapi(machine, "GET", "/2/master");
    if (status !== 200) throw new Error(`GET /2/master: ${status} ${JSON.stringify(body)}`);
    return body as MasterList;
  }

  /** The machine whose master leads, as one of the given says. */
  async leader(among: readonly Machine[] = this.machines): Promise<Machine> {
    let found: Machine | undefined;
    await until("a master leads", async () => {
      for (const machine of among) {
        const list = await this.masters(machine).catch(() => undefined);
        if (list?.leader == null) continue;
        const leads = this.machine(list.leader);
        if (!among.includes(leads)) continue;
        found = leads;
        return true;
      }
      return false;
    });
    if (found === undefined) throw new Error("nobody leads");
    return found;
  }

  /** The machine whose Redis is the primary, as the sentinel of one of the given says. */
  async primary(among: readonly Machine[] = this.machines): Promise<Machine> {
    for (const machine of among) {
      const sentinel = connectRedis(await this.#redisAddress(`rediss://${machine.address}:1813`), { name: "test" });
      try {
        await redisReady(sentinel, { timeoutMs: 5_000 });
        const said = (await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "gannet")) as readonly string[];
        const found = this.machines.find(({ address }) => address === said[0]);
        if (found !== undefined) return found;
      } catch {
        // The next one may know.
      } finally {
        sentinel.disconnect();
      }
    }
    throw new Error("no sentinel tells of a primary");
  }

  /** Another build of the daemons, which takes itself for this version. */
  anotherBuild(version: string): Promise<Programs> {
    return bundlePrograms(path.join(this.#facts.root, `programs-${version}`), version);
  }

  /** Let the leader be where the primary is: the death of that machine hits both. */
  async gather(): Promise<Machine> {
    const [primary, leader] = [await this.primary(), await this.leader()];
    if (primary === leader) return leader;
    const asked = { body: { node: primary.name, timeout: 10 } };
    await until("the leader is where the primary is", async () => {
      const { status } = await this.rapi(leader, "POST", "/2/master/failover", asked);
      return status === 200 || (await this.leader()) === primary;
    });
    await this.healthy();
    return primary;
  }

  /** Wait until all masters are there and in step, all replicas too, and all nodes have been heard of. */
  async healthy(): Promise<void> {
    await until(
      "every machine is in order",
      async () => {
        for (const machine of this.machines) {
          const { leader, masters } = await this.masters(machine);
          const inOrder = masters.filter(({ health }) => health === "ok");
          if (leader === null || inOrder.length < this.machines.length) return false;
          const { body } = await this.rapi(machine, "GET", "/2/nodes?bulk=1");
          if (!(body as { mtotal: number | null }[]).every(({ mtotal }) => mtotal !== null)) return false;
        }
        return await this.#replicates();
      },
      HEALTH_TIMEOUT_MS,
    );
  }

  /** The end of each daemon's log, for a failed run. */
  async lastWords(): Promise<string> {
    const words: string[] = [];
    for (const machine of this.machines)
      for (const daemon of DAEMONS) {
        const text = await readFile(machine.logFile(daemon), "utf8").catch(() => "");
        words.push(`--- ${machine.name} ${daemon}${machine.isRunning(daemon) ? "" : " (not running)"}`);
        words.push(text.slice(-1_500));
      }
    return words.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.end("SIGKILL", ...DAEMONS)));
    await this.network[Symbol.asyncDispose]();
    for (const machine of this.machines) await machine.takeDown();
    if (process.env.GANNET_HA_KEEP === undefined) await rm(this.#facts.root, { recursive: true, force: true });
    else console.log(`kept: ${this.#facts.root}`);
  }

  async #redisAddress(url: string): Promise<RedisAddress> {
    const [machine] = this.machines;
    if (machine === undefined) throw new Error("no machine");
    const file = (name: string) => readFile(machine.path(`/var/lib/gannet/redis/tls/${name}.pem`), "utf8");
    return parseRedisAddress(url, {
      password: this.#facts.redisPassword,
      ca: await file("ca"),
      certificate: { cert: await file("cert"), key: await file("key") },
    });
  }

  async #replicates(): Promise<boolean> {
    const primary = await this.primary();
    const redis = connectRedis(await this.#redisAddress(`rediss://${primary.address}:1812`), { name: "test" });
    try {
      await redisReady(redis, { timeoutMs: 5_000 });
      const info = await redis.info("replication");
      return (info.match(/state=online/g) ?? []).length === this.machines.length - 1;
    } finally {
      redis.disconnect();
    }
  }

  /** The cluster's first rows, written where `gannet-admin init` writes them. */
  async #initialise(): Promise<void> {
    const [first, ...others] = this.machines;
    if (first === undefined) throw new Error("no machine");
    const group = randomUUID() as GroupUuid;
    const node = ({ name, address }: Machine) => ({ uuid: randomUUID() as NodeUuid, name, primaryIp: address });
    const rows = newCluster({
      uuid: randomUUID(),
      name: "cluster.ha.test",
      now: Date.now() / 1000,
      group: { uuid: group },
      node: node(first),
      masterIp: this.network.clusterAddress,
      masterNetdev: CLUSTER_DEVICE,
      enabledHypervisors: ["fake"],
      enabledDiskTemplates: ["diskless", "file"],
      fileStorageDir: FILE_STORAGE_DIR,
      ipolicy: {
        minmax: DEFAULT_POLICY.minmax.map(({ min, max }) => ({
          min: { ...min, "memory-size": 16, "disk-size": 1, "disk-count": 0, "nic-count": 0, "spindle-use": 0 },
          max,
        })),
        "disk-templates": ["diskless", "file"],
      },
    });
    const more = others.map((each) => newNode(node(each), group, Date.now() / 1000, { masterCandidate: true }));
    const redis = connectRedis(await this.#redisAddress(`rediss://${first.address}:1812`), { name: "init" });
    try {
      await redisReady(redis, { timeoutMs: 20_000 });
      // Written once the replicas are there: before that the primary takes nothing.
      await until("the replicas copy", async () => (await redis.info("replication")).includes("state=online"));
      const all = { cluster: rows.cluster, groups: [rows.group], nodes: [rows.node, ...more] };
      await until("the cluster is written", async () => {
        await initialiseConfiguration(redis, all);
        return true;
      });
    } finally {
      redis.disconnect();
    }
  }
}

/** Wait for a condition; what it throws counts as not yet. */
export async function until(what: string, condition: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`it did not come about that ${what}`, { cause: last });
    await delay(100);
  }
}

function ask(
  host: string,
  method: string,
  resource: string,
  { auth, headers, body }: { auth: string; headers: Readonly<Record<string, string>>; body?: unknown },
): Promise<RapiAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const typed =
    text === undefined ? {} : { "content-type": "application/json", "content-length": `${Buffer.byteLength(text)}` };
  return new Promise((resolve, reject) => {
    const call = request(
      { host, port: 5080, method, path: resource, auth, agent: false, rejectUnauthorized: false },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          try {
            const text = Buffer.concat(chunks).toString();
            const told = { status: answer.statusCode ?? 0, body: text === "" ? undefined : JSON.parse(text) };
            requireDocumented(method, resource, told);
            resolve(told);
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    for (const [name, value] of Object.entries({ ...headers, ...typed })) call.setHeader(name, value);
    call.setTimeout(REQUEST_TIMEOUT_MS, () => call.destroy(new Error("no answer in time")));
    call.on("error", reject);
    call.end(text);
  });
}
