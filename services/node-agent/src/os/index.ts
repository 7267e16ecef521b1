export * from "./line-log.ts";
export { CUT, masked } from "./masked.ts";
export * from "./os-definitions.ts";
