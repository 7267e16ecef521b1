export * from "./generated/gannet/node/v1/block_device.ts";
export * from "./generated/gannet/node/v1/common.ts";
export * from "./generated/gannet/node/v1/instance.ts";
export * from "./generated/gannet/node/v1/node.ts";
export * from "./generated/gannet/node/v1/os.ts";
