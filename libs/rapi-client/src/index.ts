export { AnswerLost, NotTrusted, type RapiAccess, type RapiCredentials } from "./connection.ts";
export type { DirectInput, DirectResult, OpcodeInput } from "./declared-types.ts";
export { decodeJobError } from "./job-error.ts";
export { JoinClient } from "./join-client.ts";
export { type CallOptions, type Job, RapiClient, type RapiClientOptions, type SubmitOptions } from "./rapi-client.ts";
