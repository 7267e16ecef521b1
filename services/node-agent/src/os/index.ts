export * from "./os-definitions.ts";
export { masked } from "./run-script.ts";
