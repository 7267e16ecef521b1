/** The leader's archiving of old jobs. */
import { Unavailable } from "@gannet/errors";
import { silentLogger } from "@gannet/telemetry";
import { expect, test, vi } from "vitest";
import { keepArchiving } from "../../src/executor/job-archiving.ts";

test("jobs that have been over for six hours are archived, again and again, and trouble does not end it", async () => {
  const autoArchive = vi.fn(async (_ageSeconds: number, _timeoutMs: number) => {
    if (autoArchive.mock.calls.length === 1) throw new Unavailable("as asked");
    return { archived: 1, left: 0 };
  });
  const over = new AbortController();
  const archiving = keepArchiving({ ledger: { autoArchive }, logger: silentLogger(), lookEveryMs: 5 }, over.signal);
  await vi.waitFor(() => expect(autoArchive.mock.calls.length).toBeGreaterThan(3), { timeout: 10_000 });
  over.abort();
  await archiving;
  expect(autoArchive.mock.calls.every(([age]) => age === 6 * 3600)).toBe(true);
});
