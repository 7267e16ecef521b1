export { type ConfigRows, changesBetween, rowsOf } from "./config-rows.ts";
export * from "./config-store-contract.ts";
export * from "./config-view.ts";
export * from "./configuration-export.ts";
export * from "./configuration-mark.ts";
export * from "./join-tokens.ts";
export * from "./leader-notes.ts";
export * from "./redis-config-store.ts";
export { initialiseConfiguration, readConfiguration, replaceConfiguration } from "./redis-configuration.ts";
