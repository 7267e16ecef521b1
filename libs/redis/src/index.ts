export type { ChainableCommander, Redis } from "ioredis";
export * from "./connection.ts";
export * from "./embedded-server.ts";
export * from "./keys.ts";
export * from "./patience.ts";
export * from "./script.ts";
export * from "./unavailable.ts";
