export { type ConfigRows, changesBetween, rowsOf } from "./config-rows.ts";
export * from "./config-store-contract.ts";
export * from "./config-view.ts";
export * from "./configuration-export.ts";
export * from "./configuration-mark.ts";
export * from "./redis-config-store.ts";
export { initialiseConfiguration } from "./redis-configuration.ts";
