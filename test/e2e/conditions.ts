/** Waiting for what a test expects to come true. */
import { setTimeout as delay } from "node:timers/promises";

const TIMEOUT_MS = 60_000;
const LOOK_EVERY_MS = 50;

/**
 * Look until there is something to see; what cannot be looked at yet is looked at again.
 * @param options - milliseconds: `timeoutMs` for all looks together, `everyMs` from one to the next
 * @throws Error naming `what`
 */
export async function eventually<Result>(
  what: string,
  look: () => Result | undefined | false | Promise<Result | undefined | false>,
  { timeoutMs = TIMEOUT_MS, everyMs = LOOK_EVERY_MS }: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<Result> {
  const deadline = performance.now() + timeoutMs;
  let problem: unknown;
  while (performance.now() < deadline) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      problem = undefined;
    } catch (error) {
      problem = error;
    }
    await delay(everyMs);
  }
  throw new Error(`never came true: ${what}`, { cause: problem });
}
