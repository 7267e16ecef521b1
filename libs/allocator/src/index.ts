export * from "./balance.ts";
export * from "./capacity.ts";
export * from "./checked-result.ts";
export * from "./cluster-message.ts";
export * from "./protocol.ts";
export type { SoftErrors } from "./refusals.ts";
export * from "./solve.ts";
