/** Connections that fail at the worst moment: after a script ran, before its answer came. */
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "@gannet/redis";

/** The first script runs, and then the connection breaks. */
export function losingFirstAnswer(real: Redis): Redis {
  return onFirstAnswer(real, () => Promise.reject(new Error("Connection is closed.")));
}

/** The answer of the first script comes late. */
export function delayingFirstAnswer(real: Redis, delayMs: number): Redis {
  return onFirstAnswer(real, (answer) => delay(delayMs, answer));
}

function onFirstAnswer(real: Redis, treat: (answer: unknown) => Promise<unknown>): Redis {
  let treated = false;
  return new Proxy(real, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (treated || (name !== "eval" && name !== "evalsha")) return value.bind(target);
      return async (...args: unknown[]) => {
        const answer: unknown = await value.apply(target, args);
        treated = true;
        return await treat(answer);
      };
    },
  });
}
