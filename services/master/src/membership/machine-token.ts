/**
 * The API token that root of a joined master's machine has for `gnt`. It is of the user who has let the machine join, and
 * is worth nothing any more when the node is removed.
 */
import type { ConfigChange } from "@gannet/config-store";
import { type ApiToken, type ConfigView, RESOURCE_KINDS } from "@gannet/objects";
import { newToken, TOKEN_USER } from "../rapi/api-tokens.ts";

/** As long as a cluster's authority lasts; who joins anew gets a new one. */
const LIFETIME_S = 3650 * 24 * 3600;

export interface MachineToken {
  readonly row: ApiToken;
  /** As a credentials file has them: `user password`. */
  readonly credentials: string;
}

/** @param maker - who asked for it: a user, or `user/token` @param nowS - seconds since 1970 */
export function machineToken(node: string, maker: string, nowS: number): MachineToken {
  const { id, text, digest } = newToken();
  const [owner = ""] = maker.split("/");
  const rights = Object.fromEntries(RESOURCE_KINDS.map((kind) => [kind, "write" as const]));
  const row: ApiToken = {
    ...{ uuid: id, name: nameFor(node), owner, rights, root: true, digest, lastUsed: null },
    ...{ ctime: nowS, mtime: nowS, serialNo: 0, expires: Math.floor(nowS) + LIFETIME_S },
  };
  return { row, credentials: `${TOKEN_USER} ${text}` };
}

export function withoutMachineTokens({ tokens }: Pick<ConfigView, "tokens">, node: string): readonly ConfigChange[] {
  const its = [...tokens.values()].filter(({ name }) => name === nameFor(node));
  return its.map((remove) => ({ kind: "token", remove }) as const);
}

function nameFor(node: string): string {
  return `root@${node}`;
}
