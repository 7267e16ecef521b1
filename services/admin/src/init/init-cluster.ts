/** Makes a cluster of one machine, wholly or not at all. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HttpError, Unavailable } from "@gannet/errors";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { RapiClient } from "@gannet/rapi-client";
import type { ClusterPlan } from "./cluster-plan.ts";
import { firstRows, writeFirstConfiguration } from "./first-configuration.ts";
import {
  type Credentials,
  configureAgent,
  configureMaster,
  configureRedis,
  makeIdentities,
  makeSecrets,
} from "./machine-files.ts";
import type { MachinePlaces } from "./machine-places.ts";
import type { MachineServices } from "./machine-services.ts";

export interface InitParts {
  readonly places: MachinePlaces;
  /** Undefined: the daemons are started by somebody else. */
  readonly services: MachineServices | undefined;
  /** How long the cluster may take to answer after its daemons have started. */
  readonly usableWithinMs: number;
  readonly signal: AbortSignal;
  readonly tell: (text: string) => void;
}

const LOOK_MS = 250;

/**
 * When it fails, or is aborted, this machine is as it was. Killed, it leaves a mark by which the next call begins anew.
 * @throws OpPrereqError; Unavailable when the cluster does not answer
 */
export async function initCluster(plan: ClusterPlan, parts: InitParts): Promise<void> {
  const { places, services, signal, tell } = parts;
  await places.take();
  try {
    tell(`making the cluster ${plan.name} with the node ${plan.nodeName} (${plan.nodeAddress})`);
    await makeIdentities(plan, places);
    const credentials = await makeSecrets(places);
    await writeFirstConfiguration(firstRows(plan), places.at(SYSTEM_LAYOUT.redisDir));
    await configureRedis(plan, places);
    await configureAgent(plan, places);
    await configureMaster(plan, places);
    await places.handOver();
    signal.throwIfAborted();
    await places.settle();
    if (services === undefined) return;
    tell("starting Redis, Sentinel, the node agent and the master");
    await services.start();
    await untilUsable(plan, credentials, parts);
  } catch (error) {
    await services?.stop().catch(() => undefined);
    await places.clear();
    signal.throwIfAborted();
    throw error;
  }
}

/** The master answers, and the first node's agent has reported. */
async function untilUsable(plan: ClusterPlan, credentials: Credentials, parts: InitParts): Promise<void> {
  const ca = await readFile(path.join(parts.places.at(SYSTEM_LAYOUT.caDir), "ca.pem"));
  using client = new RapiClient({ host: plan.nodeAddress, port: plan.ports.rapi, ca, ...credentials, repeatMs: 0 });
  const deadline = performance.now() + parts.usableWithinMs;
  for (;;) {
    const missing = await missingYet(client, parts.signal);
    if (missing === undefined) return;
    if (performance.now() > deadline)
      throw new Unavailable(
        `The cluster did not become usable: ${missing}. This machine is as it was before; its daemons' logs tell more (journalctl -u 'gannet-*')`,
      );
    await delay(LOOK_MS, undefined, { signal: parts.signal });
  }
}

async function missingYet(client: RapiClient, signal: AbortSignal): Promise<string | undefined> {
  try {
    const nodes = (await client.call("GET", "/2/nodes", { query: { bulk: 1 } }, { signal })) as readonly {
      readonly name: string;
      readonly mtotal: number | null;
    }[];
    const silent = nodes.find(({ mtotal }) => mtotal === null);
    return silent === undefined ? undefined : `the agent of ${silent.name} has not reported`;
  } catch (error) {
    if (signal.aborted || !(error instanceof Unavailable || error instanceof HttpError)) throw error;
    return error.message;
  }
}
