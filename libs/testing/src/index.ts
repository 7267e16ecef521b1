export * from "./initramfs.ts";
export * from "./redis.ts";
export * from "./severable-link.ts";
