/** What a requester may do: the users file's options, and the narrower rights of an API token. */
import type { HttpError } from "@gannet/errors";
import type { Access, MethodKind, ResourceMethod } from "@gannet/opcodes";
import type { Requester } from "./handlers.ts";
import { forbidden } from "./refusals.ts";

/** Options of which a user needs one; none: any known user. */
const SUFFICIENT: Readonly<Record<Access, readonly string[]>> = { none: [], read: ["read", "write"], write: ["write"] };

/** Who may set parameters that let a node run any program: users with this option. */
export type RootParameters = "write" | "root";

/** Folders of nodes in which kernels and images of guests usually lie: naming a file there takes no right of root. */
export const DEFAULT_FILE_ROOTS: readonly string[] = [
  "/boot",
  "/srv/ganeti/iso",
  "/srv/gannet/images",
  "/usr/lib/xen",
  "/usr/lib/xen-default",
  "/usr/share",
];

/** Why this requester may not have this method; undefined where he may. */
export function lackOfRight(requester: Requester, method: ResourceMethod, kind: MethodKind): HttpError | undefined {
  const sufficient = SUFFICIENT[method.access];
  if (sufficient.length > 0 && !sufficient.some((option) => requester.options.has(option))) return forbidden();
  const { token } = requester;
  if (token === undefined || kind === "free" || kind === "stated") return undefined;
  if (kind === "account")
    return forbidden("API tokens are listed, made and revoked by users with their passwords only");
  const needed = neededOfToken(method);
  const right = token.rights[kind];
  if (right === "write" || right === needed) return undefined;
  return forbidden(`This API token may not ${needed} ${kind === "cluster" ? "the cluster" : kind}`);
}

/**
 * What answers a GET at once changes nothing, also where Ganeti asks a user for more; and a token reads nothing that
 * it was not given, also where any user may.
 */
function neededOfToken({ kind, method, access }: ResourceMethod): "read" | "write" {
  if (kind === "direct" && method === "GET") return "read";
  return access === "none" ? "read" : access;
}

/** Whether the requester may set parameters that let a node run any program. */
export function mayBeRoot({ options, token }: Requester, option: RootParameters): boolean {
  return options.has(option) && token?.root !== false;
}
