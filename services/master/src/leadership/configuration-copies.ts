/** Copies of the configuration on the master candidates: from any of them the cluster can be rebuilt. */
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { type ConfigStore, exportConfiguration, type Fence } from "@gannet/config-store";
import type { JobLedger } from "@gannet/job-ledger";
import type { NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";

export interface ConfigurationCopiesParts {
  readonly configStore: Pick<ConfigStore, "view" | "onChange">;
  readonly ledger: Pick<JobLedger, "lastId">;
  readonly node: (uuid: NodeUuid) => NodeClient;
  readonly fence: Fence;
  readonly logger: Logger;
}

const zip = promisify(gzip);
/** What is committed meanwhile goes out together. */
const PACE_MS = 500;
/** Making the text of a large configuration keeps everything else waiting: at most so large a part of the time. */
const PAUSES_PER_WORK = 20;
const RETRY_MS = 5_000;
const SEND_TIMEOUT_MS = 30_000;

/** Keep the copies in step until `over` is aborted. */
export async function keepConfigurationCopies(parts: ConfigurationCopiesParts, over: AbortSignal): Promise<void> {
  const { configStore } = parts;
  const sent = new Map<NodeUuid, number>();
  let wake = () => {};
  const unfollow = configStore.onChange(() => wake());
  try {
    while (!over.aborted) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const isDone = await sendCopies(parts, sent, over).catch((error: unknown) => {
        if (!over.aborted) parts.logger.warn({ err: error }, "the configuration could not be copied; trying again");
        return false;
      });
      await pause(isDone ? PACE_MS : RETRY_MS, over);
      if (isDone) await Promise.race([changed, aborted(over)]);
    }
  } finally {
    unfollow();
  }
}

/** @returns whether every candidate has the newest now */
async function sendCopies(
  { configStore, ledger, node, fence, logger }: ConfigurationCopiesParts,
  sent: Map<NodeUuid, number>,
  over: AbortSignal,
): Promise<boolean> {
  const { view } = configStore;
  const { serial } = view;
  const candidates = [...view.nodes.values()].filter((each) => each.masterCandidate && !each.offline);
  const behind = candidates.filter(({ uuid }) => (sent.get(uuid) ?? 0) < serial);
  if (behind.length === 0) return true;
  const marks = { epoch: fence.epoch, lastJob: await ledger.lastId(), time: Date.now() / 1000 };
  const began = performance.now();
  const text = exportConfiguration(view, marks);
  const workMs = performance.now() - began;
  const copy = { epoch: fence.epoch, serial, gzip: await zip(text) };
  const signal = AbortSignal.any([over, AbortSignal.timeout(SEND_TIMEOUT_MS)]);
  const outcomes = await Promise.all(
    behind.map(async ({ uuid, name }) => {
      try {
        await node(uuid).node.keepConfiguration(copy, { signal });
        sent.set(uuid, serial);
        return true;
      } catch (error) {
        if (!over.aborted) logger.debug({ err: error, node: name }, "a copy of the configuration was not taken");
        return false;
      }
    }),
  );
  await pause(workMs * PAUSES_PER_WORK, over);
  return outcomes.every((isTaken) => isTaken);
}

function pause(ms: number, over: AbortSignal): Promise<void> {
  return delay(ms, undefined, { signal: over }).catch(() => undefined);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
