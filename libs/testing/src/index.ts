export * from "./documented-answers.ts";
export * from "./initramfs.ts";
export { schemaFaults } from "./json-schema.ts";
export * from "./redis.ts";
export * from "./redis-group.ts";
export * from "./severable-link.ts";
