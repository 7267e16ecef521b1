export * from "./epoch.ts";
export * from "./fence.ts";
export * from "./leader-contract.ts";
export * from "./lock.ts";
export * from "./lock-manager-contract.ts";
export * from "./lock-model.ts";
export { LOCK_FUNCTIONS, LOCK_KEYS, lockRequestArguments } from "./lock-scripts.ts";
export * from "./redis-leader-election.ts";
export * from "./redis-lock-manager.ts";
