export * from "./initramfs.ts";
export * from "./redis.ts";
