export * from "./os-definitions.ts";
