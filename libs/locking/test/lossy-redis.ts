/** Connections that fail at the worst moment. */
import type { Redis } from "@gannet/redis";

/** A connection that breaks after its first script ran and before the answer came. */
export function losingFirstAnswer(real: Redis): Redis {
  let lost = false;
  return new Proxy(real, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (lost || (name !== "eval" && name !== "evalsha")) return value.bind(target);
      return async (...args: unknown[]) => {
        await value.apply(target, args);
        lost = true;
        throw new Error("Connection is closed.");
      };
    },
  });
}
