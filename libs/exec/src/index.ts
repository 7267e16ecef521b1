export { bootId } from "./boot-id.ts";
export * from "./command-line.ts";
export * from "./command-runner.ts";
export type * from "./command-runner-contract.ts";
export * from "./hold-folder.ts";
export * from "./leftover-commands.ts";
export { type LogFile, openLogFile } from "./log-file.ts";
export type * from "./pipeline-contract.ts";
export { endProcessGroup } from "./process-group.ts";
