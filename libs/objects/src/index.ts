export * from "./config-view.ts";
export * from "./model.ts";
export * from "./names.ts";
