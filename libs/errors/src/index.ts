export * from "./all-ended.ts";
export * from "./error-codes.ts";
export * from "./exit-code.ts";
export * from "./gannet-error.ts";
export * from "./grpc.ts";
export * from "./http.ts";
export * from "./opresult.ts";
