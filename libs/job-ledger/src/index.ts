export * from "./bull-wake-queue.ts";
export type { Dependency } from "./dependencies.ts";
export * from "./job.ts";
export * from "./job-ledger-contract.ts";
export * from "./ledger-marks.ts";
export * from "./redis-job-ledger.ts";
