/** Every operation of Gannet, declared once; see define.ts. */
export * from "./declarations.ts";
export * from "./define.ts";
export * from "./enums.ts";
export { type Checked, check } from "./explain.ts";
export type { DiskParams, NicParams } from "./params/devices.ts";
export * as p from "./params.ts";
export * from "./rapi/bodies.ts";
export * from "./rapi/methods.ts";
export { parseInput } from "./rapi/parse-input.ts";
export { decodeQuery } from "./rapi/query-arguments.ts";
export * from "./rapi/request.ts";
export * from "./rapi/resources.ts";
export * from "./reason-trail.ts";
export * from "./registry.ts";
export type { JobIdList, QueryResponse } from "./results.ts";
