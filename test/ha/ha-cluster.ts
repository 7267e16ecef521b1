/**
 * Three machines, each with Redis, Sentinel, a master and an agent: a cluster that survives the death of any of them. It
 * is made by the programs that operators use.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { DEFAULT_POLICY, replicationOf, SYSTEM_LAYOUT, SYSTEM_PORTS } from "@gannet/objects";
import { atServer, type Redis, SENTINEL_NAME } from "@gannet/redis";
import { type RapiAnswer, requireDocumented } from "../rapi-client.ts";
import { type ClusterFacts, DAEMONS, Machine } from "./machine.ts";
import { Network } from "./network.ts";
import { bundlePrograms, type Programs } from "./programs.ts";

const REQUEST_TIMEOUT_MS = 10_000;
const HEALTH_TIMEOUT_MS = 90_000;
/** Guests that only pretend need nothing. */
const SMALL_GUESTS = {
  minmax: DEFAULT_POLICY.minmax.map(({ min, max }) => ({
    min: { ...min, "memory-size": 16, "disk-size": 1, "disk-count": 0, "nic-count": 0, "spindle-use": 0 },
    max,
  })),
};

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
  /** All of them, empty ones too. */
  readonly hardware: readonly Machine[];
  readonly network: Network;
  readonly #facts: ClusterFacts;
  /** Those on which masters are. */
  #masters: readonly Machine[] = [];
  #credentials = "";
  readonly #end = new AbortController();

  private constructor(facts: ClusterFacts) {
    this.#facts = facts;
    this.network = facts.network;
    this.hardware = Array.from({ length: facts.size }, (_, each) => new Machine(each + 1, facts));
  }

  /** Machines with nothing but the programs. */
  static async empty({ size = 3 } = {}): Promise<HaCluster> {
    const root = await mkdtemp(path.join(tmpdir(), "gannet-ha-"));
    const network = await Network.create(size);
    const cluster = new HaCluster({
      ...{ network, size, root },
      programs: await bundlePrograms(path.join(root, "programs")),
    });
    for (const machine of cluster.hardware) await machine.prepare();
    return cluster;
  }

  /** Up, with a leader, and with all nodes heard of, when it resolves; made as operators make it. */
  static async start(): Promise<HaCluster> {
    const cluster = await HaCluster.empty();
    try {
      const [first, ...others] = cluster.hardware;
      if (first === undefined) throw new Error("no machine");
      await cluster.initialise(first);
      await Promise.all(
        others.map(async (machine) => {
          await cluster.joinNode(machine);
          await cluster.joinMaster(machine);
        }),
      );
      await cluster.healthy();
      return cluster;
    } catch (error) {
      const told = await cluster.lastWords();
      await cluster[Symbol.asyncDispose]();
      throw new Error(`the cluster did not come up: ${told}`, { cause: error });
    }
  }

  /** Aborted when nobody answers any more. */
  get over(): AbortSignal {
    return this.#end.signal;
  }

  /** The machines whose masters the cluster has. */
  get machines(): readonly Machine[] {
    return this.#masters;
  }

  /** A cluster with this machine's master alone. */
  async initialise(machine: Machine): Promise<void> {
    await machine.initialise();
    this.#credentials = (await readFile(machine.path(SYSTEM_LAYOUT.adminCredentialsFile), "utf8")).trim();
    this.#masters = [machine];
    await this.leader();
    await this.succeed("PUT", "/2/modify", { ipolicy: SMALL_GUESTS });
  }

  /** As an operator adds a node. */
  async joinNode(machine: Machine): Promise<void> {
    const node = { node_name: machine.name, primary_ip: machine.address };
    await machine.joinAsNode(await this.#url(), await this.#newToken(node));
  }

  /** As an operator adds a master. @returns what he is told */
  async joinMaster(machine: Machine, ...options: readonly string[]): Promise<string> {
    const token = await this.#newToken({ role: "master", node_name: machine.name });
    const told = await machine.joinAsMaster(await this.#url(), token, ...options);
    this.#masters = [...this.#masters.filter((each) => each !== machine), machine];
    return told;
  }

  /** Its node is not in the cluster any more. */
  left(machine: Machine): void {
    this.#masters = this.others(machine);
  }

  /** Ask the leader for a job, and wait until it has succeeded. @returns its results */
  async succeed(method: string, resource: string, body?: unknown): Promise<readonly unknown[]> {
    const { status, opresult } = await this.finish(method, resource, body);
    if (status !== "success") throw new Error(`${method} ${resource}: ${status} ${JSON.stringify(opresult)}`);
    return opresult;
  }

  /** Ask the leader for a job, and wait until it is over. */
  async finish(
    method: string,
    resource: string,
    body?: unknown,
  ): Promise<{ readonly status: string; readonly opresult: readonly unknown[] }> {
    const answer = await this.rapi(await this.leader(), method, resource, { body });
    if (answer.status !== 200)
      throw new Error(`${method} ${resource}: ${answer.status} ${JSON.stringify(answer.body)}`);
    let job = { status: "", opresult: [] as readonly unknown[] };
    await until(`job ${answer.body} is over`, async () => {
      const asked = await this.rapi(await this.leader(), "GET", `/2/jobs/${answer.body}`);
      job = asked.body as typeof job;
      return asked.status === 200 && ["success", "error", "canceled"].includes(job.status);
    });
    return job;
  }

  machine(name: string): Machine {
    const found = this.hardware.find((machine) => machine.name === name);
    if (found === undefined) throw new Error(`There is no machine ${name}`);
    return found;
  }

  others(machine: Machine): readonly Machine[] {
    return this.machines.filter((each) => each !== machine);
  }

  /** Ask the master on a machine, by its side address. @throws when it does not answer */
  rapi(machine: Machine, method: string, resource: string, { body, key }: Ask = {}): Promise<RapiAnswer> {
    return ask(machine.sideAddress, method, resource, {
      auth: this.#credentials.replace(" ", ":"),
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
      const said = await this.#asked(machine, SYSTEM_PORTS.sentinel, (sentinel) =>
        sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SENTINEL_NAME),
      ).catch(() => undefined);
      const found = this.hardware.find(({ address }) => address === (said as readonly string[] | undefined)?.[0]);
      // When it does not know, the next one may.
      if (found !== undefined) return found;
    }
    throw new Error("no sentinel tells of a primary");
  }

  /** What a machine's servers have been told of the cluster. */
  async replication(machine: Machine) {
    const configured = (await this.#asked(machine, SYSTEM_PORTS.redis, (redis) =>
      redis.call("CONFIG", "GET", "min-replicas-to-write", "replica-priority"),
    )) as readonly string[];
    const told = (await this.#asked(machine, SYSTEM_PORTS.sentinel, (sentinel) =>
      sentinel.call("SENTINEL", "MASTER", SENTINEL_NAME),
    )) as readonly string[];
    const field = (name: string, among = told) => Number(among[among.indexOf(name) + 1]);
    return {
      replicas: field("min-replicas-to-write", configured),
      promotable: field("replica-priority", configured) > 0,
      quorum: field("quorum"),
      otherSentinels: field("num-other-sentinels"),
    };
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

  /**
   * Wait until all masters are there and in step, all replicas too, all nodes have been heard of, and each server goes
   * by the number of masters.
   */
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
        return (await this.#replicates()) && (await this.#isSettled());
      },
      HEALTH_TIMEOUT_MS,
    );
  }

  /** The end of each daemon's log, for a failed run. */
  async lastWords(): Promise<string> {
    const words: string[] = [];
    for (const machine of this.hardware)
      for (const daemon of DAEMONS) {
        const text = await readFile(machine.logFile(daemon), "utf8").catch(() => "");
        words.push(`--- ${machine.name} ${daemon}${machine.isRunning(daemon) ? "" : " (not running)"}`);
        words.push(text.slice(-1_500));
      }
    return words.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await Promise.all(this.hardware.map((machine) => machine.end("SIGKILL", ...DAEMONS)));
    await this.network[Symbol.asyncDispose]();
    for (const machine of this.hardware) await machine.takeDown();
    if (process.env.GANNET_HA_KEEP === undefined) await rm(this.#facts.root, { recursive: true, force: true });
    else console.log(`kept: ${this.#facts.root}`);
  }

  async #url(): Promise<string> {
    return `https://${(await this.leader()).address}:${SYSTEM_PORTS.rapi}`;
  }

  async #newToken(body: object): Promise<string> {
    const answer = await this.rapi(await this.leader(), "POST", "/2/join-tokens", { body });
    if (answer.status !== 200) throw new Error(`no token: ${answer.status} ${JSON.stringify(answer.body)}`);
    return (answer.body as { readonly token: string }).token;
  }

  /** Straight of a machine's Redis or Sentinel. */
  async #asked<T>(machine: Machine, port: number, ask: (server: Redis) => Promise<T>): Promise<T> {
    const [first] = this.hardware;
    const file = (name: string) => readFile(`${first?.path(SYSTEM_LAYOUT.redisTlsDir)}/${name}.pem`, "utf8");
    const password = await readFile(`${first?.path(SYSTEM_LAYOUT.redisPasswordFile)}`, "utf8");
    const certificate = { cert: await file("cert"), key: await file("key") };
    return atServer(
      `${machine.address}:${port}`,
      { password: password.trim(), ca: await file("ca"), certificate },
      ask,
    );
  }

  async #replicates(): Promise<boolean> {
    const info = await this.#asked(await this.primary(), SYSTEM_PORTS.redis, (redis) => redis.info("replication"));
    // Of a master that is removed Redis goes on until it is stopped.
    return (info.match(/state=online/g) ?? []).length >= this.machines.length - 1;
  }

  async #isSettled(): Promise<boolean> {
    const { quorum, replicasToWrite: replicas } = replicationOf(this.machines.length);
    const wanted = { replicas, promotable: true, quorum, otherSentinels: this.machines.length - 1 };
    const told = await Promise.all(this.machines.map((machine) => this.replication(machine)));
    return told.every((each) => isDeepStrictEqual(each, wanted));
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
