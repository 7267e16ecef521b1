/** What a master does while it waits to lead. */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigStore } from "@gannet/config-store";
import { mayLead } from "./office.ts";

const LOOK_MS = 500;

/**
 * Wait until the master on this node may lead. @returns a signal that is aborted when it may not any more
 * @throws the given signal's reason
 */
export async function eligible(
  configStore: Pick<ConfigStore, "view" | "onChange">,
  nodeName: string,
  stop: AbortSignal,
): Promise<AbortSignal & Disposable> {
  while (!mayLead(configStore.view, nodeName)) await delay(LOOK_MS, undefined, { signal: stop });
  const over = new AbortController();
  const unfollow = configStore.onChange((view) => {
    if (!mayLead(view, nodeName)) over.abort(new Error(`The master on ${nodeName} may not lead any more`));
  });
  return Object.assign(over.signal, { [Symbol.dispose]: unfollow });
}
