/** Waiting for a condition, with time enough for a machine that is busy with other tests. */
import { vi } from "vitest";

const PATIENCE_MS = 20_000;

/** Try the check until it does not throw. */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: PATIENCE_MS, interval: 5 });
}
