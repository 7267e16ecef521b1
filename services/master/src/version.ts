/** Versions that the remote API reports. */

import { GANNET_VERSION } from "@gannet/objects";

export { GANNET_VERSION };

/** What `/2/info` says of versions: the 3.x contract that clients look for, and who is really answering. */
export const VERSION_FACTS = {
  softwareVersion: "3.1.1",
  protocolVersion: 3_010_000,
  configVersion: 3_010_000,
  osApiVersion: 20,
  exportVersion: 0,
  vcsVersion: `gannet ${GANNET_VERSION}`,
} as const;

/** Whether an agent of that version speaks what this master speaks: releases that differ in the last number do. */
export function worksWith(agentVersion: string): boolean {
  const release = (version: string) => version.split(".").slice(0, 2).join(".");
  return release(agentVersion) === release(GANNET_VERSION);
}
