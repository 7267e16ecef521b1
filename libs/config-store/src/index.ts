export * from "./config-store-contract.ts";
