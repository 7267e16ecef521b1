/** Lists of clusters of three sizes: how long they take, and how that grows. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { RedisConfigStore } from "@gannet/config-store";
import { type Instance, type InstanceUuid, type NodeUuid, newNode } from "@gannet/objects";
import { connectRedis, EPOCH_KEY } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { eventually } from "../e2e/conditions.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { median, print, processorMs, timed } from "./figures.ts";
import { disklessInstance } from "./instances.ts";
import { redisSocket } from "./jobs.ts";
import { SimulatedAgents } from "./simulated-agents.ts";

const SIZES = [
  { nodes: 3, instances: 100 },
  { nodes: 30, instances: 1_000 },
  { nodes: 200, instances: 10_000 },
] as const;
const RESOURCES = [
  "/2/instances?bulk=1",
  "/2/nodes?bulk=1",
  "/2/query/instance?fields=name,pnode,snodes,status,oper_ram,be/memory,be/vcpus",
];
const REQUESTS = 15;
const ROWS_PER_COMMIT = 500;
const MODEL = "model.gannet.test";

export async function benchLargeClusters(cluster: OneMachineCluster): Promise<void> {
  await cluster.succeed("POST", "/2/instances", disklessInstance(MODEL, 1));
  const names = Array.from({ length: SIZES[2].nodes - 3 }, (_, n) => `simulated${n + 1}.gannet.test`);
  await using agents = await SimulatedAgents.start(cluster.stateDir, names);
  const address = { kind: "socket", path: redisSocket(cluster) } as const;
  const store = await RedisConfigStore.open({ address, name: "bench", logger: silentLogger() });
  const before = new Map<string, { readonly ms: number; readonly instances: number }>();
  try {
    for (const size of SIZES) {
      await growTo(size, store, agents, cluster);
      for (const resource of RESOURCES) {
        const cost = await costOf(cluster, resource);
        const label = `GET ${resource.split("?")[0]}, ${size.instances} instances on ${size.nodes} nodes`;
        print({ name: `${label}, median`, value: cost.ms, unit: "ms" });
        print({ name: `${label}, answer`, value: cost.bytes / 1024, unit: "KiB" });
        print({ name: `${label}, processor`, value: cost.processorMs, unit: "ms a request" });
        if (cost.unchangedMs !== undefined)
          print({ name: `${label}, not modified, median`, value: cost.unchangedMs, unit: "ms" });
        const smaller = before.get(resource);
        if (smaller !== undefined)
          print({
            name: `${label}: time by the time of the next smaller cluster, by how much larger it is`,
            value: cost.ms / smaller.ms,
            unit: "times",
            ratio: cost.ms / smaller.ms / (size.instances / smaller.instances),
            goal: "ratio <= 1",
          });
        before.set(resource, { ms: cost.ms, instances: size.instances });
      }
    }
  } finally {
    await store.close();
  }
}

interface Size {
  readonly nodes: number;
  readonly instances: number;
}

/** Write the rows of nodes and instances as the leader would, and wait until its agents have told of all guests. */
async function growTo(
  { nodes, instances }: Size,
  store: RedisConfigStore,
  agents: SimulatedAgents,
  cluster: OneMachineCluster,
): Promise<void> {
  const redis = connectRedis({ kind: "socket", path: redisSocket(cluster) }, { name: "bench" });
  const fence = { epoch: Number(await redis.get(EPOCH_KEY)) };
  redis.disconnect();
  const model = store.view.findInstance(MODEL);
  const group = [...store.view.groups.keys()][0];
  if (model === undefined || group === undefined) throw new Error("the cluster has no model instance");
  const simulated = agents.nodes.slice(0, nodes - 3);
  const known = [...store.view.nodes.values()].filter(({ name }) => name.startsWith("simulated"));
  const added = simulated
    .slice(known.length)
    .map(({ name, address }) =>
      newNode(
        { uuid: randomUUID() as NodeUuid, name, primaryIp: "127.0.0.1", agentAddress: address },
        group,
        Date.now() / 1000,
        { masterCandidate: false },
      ),
    );
  const homes = [...known, ...added];
  const first = store.view.instances.size;
  // The smallest cluster has no simulated node: its instances are where the model is, and nobody tells of them.
  const rows = Array.from({ length: instances - first }, (_, n) =>
    copyOf(model, first + n, homes[n % Math.max(1, homes.length)]?.uuid ?? model.primaryNode),
  );
  for (const home of homes) {
    const here = [...store.view.instances.values(), ...rows].filter(({ primaryNode }) => primaryNode === home.uuid);
    agents.setGuests(home.name, here.map(stateOf));
  }
  for (let at = 0; at < rows.length; at += ROWS_PER_COMMIT)
    await store.commit(
      () => rows.slice(at, at + ROWS_PER_COMMIT).map((put) => ({ kind: "instance", put }) as const),
      fence,
    );
  // Last: from here on the leader watches them.
  if (added.length > 0) await store.commit(() => added.map((put) => ({ kind: "node", put }) as const), fence);
  await eventually(
    "the master knows of all",
    async () => {
      const { body } = await cluster.rapi("GET", "/2/instances?bulk=1");
      const told = body as readonly { readonly oper_state: boolean; readonly pnode: string }[];
      const watched = told.filter(({ pnode }) => added.some(({ name }) => name === pnode));
      return told.length === instances && watched.every(({ oper_state: state }) => state);
    },
    { timeoutMs: 120_000 },
  );
}

function copyOf(model: Instance, number: number, primaryNode: NodeUuid): Instance {
  const octets = [number >> 16, (number >> 8) & 255, number & 255].map((each) => each.toString(16).padStart(2, "0"));
  return {
    ...model,
    uuid: randomUUID() as InstanceUuid,
    name: `copy${number}.gannet.test`,
    primaryNode,
    serialNo: 0,
    nics: model.nics.map((nic) => ({ ...nic, uuid: randomUUID(), mac: `aa:00:01:${octets.join(":")}` })),
  } as Instance;
}

function stateOf({ name, uuid, hypervisor }: Instance) {
  return {
    ...{ name, uuid, hypervisor, status: "running", memoryMib: 128, vcpus: 1 },
    ...{ uptimeSeconds: 1_000, cpuSeconds: 10, asOfMs: 0 },
  };
}

async function costOf(cluster: OneMachineCluster, resource: string) {
  const master = await cluster.pid("master");
  let last = await get(cluster, resource);
  const before = processorMs(master);
  const times = await timed(REQUESTS, async () => {
    last = await get(cluster, resource);
  });
  const used = (processorMs(master) - before) / REQUESTS;
  const { bytes, etag } = last;
  const unchangedMs =
    etag === undefined
      ? undefined
      : median(await timed(REQUESTS, () => get(cluster, resource, { "if-none-match": etag })));
  return { ms: median(times), bytes, processorMs: used, unchangedMs };
}

const connections = new Agent({ keepAlive: true, rejectUnauthorized: false });

/** As an exporter asks: the answer is read and not looked at. */
async function get(
  { port, user, password }: OneMachineCluster,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly bytes: number; readonly etag: string | undefined }> {
  const call = request({ host: "127.0.0.1", port, path, agent: connections, auth: `${user}:${password}`, headers });
  call.end();
  const [answer] = (await once(call, "response")) as [IncomingMessage];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) bytes += chunk.length;
  const { statusCode } = answer;
  if (statusCode !== 200 && statusCode !== 304) throw new Error(`GET ${path}: ${statusCode}`);
  return { bytes, etag: answer.headers.etag };
}
