/** A ledger on its own, whose jobs nobody is woken for. */
import { type NewJob, RedisJobLedger } from "@gannet/job-ledger";
import type { RedisAddress } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";

export function openLedger(address: RedisAddress, logger: Logger): RedisJobLedger {
  const wakeQueue = { wake: async () => undefined, reprioritize: async () => undefined };
  return new RedisJobLedger({ address, name: "test", wakeQueue, logger });
}

export function delayJob(more: Readonly<Record<string, unknown>> = {}): NewJob {
  return {
    requester: "tester",
    opcodes: [
      { input: { OP_ID: "OP_TEST_DELAY", duration: 0, priority: 0, depends: null, ...more }, summary: "TEST_DELAY(0)" },
    ],
  };
}
