/** `/2/tokens`: API tokens. Who makes one is a user of the users file, and it can never do more than he may. */
import { HttpError } from "@gannet/errors";
import { type ApiToken, RESOURCE_KINDS } from "@gannet/objects";
import type { ApiTokenBody } from "@gannet/opcodes";
import { jsonAnswer } from "../answers.ts";
import { newToken } from "../api-tokens.ts";
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam, type Requester } from "../handlers.ts";
import { leadersFence } from "../leaders-fence.ts";
import { forbidden, notFound } from "../refusals.ts";
import { mayBeRoot, type RootParameters } from "../rights.ts";

/** Far more than programs that a site has; a bound, for each is in every master's memory. */
const TOKENS_LIMIT = 1_000;

export function tokenHandlers({ configStore, leader, clock, rootParameters }: DirectContext): Handlers {
  return {
    listTokens: ({ requester }) => {
      const tokens = [...configStore.view.tokens.values()].filter((token) => mayManage(requester, token));
      return jsonAnswer(tokens.sort((a, b) => a.ctime - b.ctime).map(shown));
    },
    addToken: async ({ body, requester }) => {
      const { name, rights, root, expires_in } = body as ApiTokenBody;
      const { id, text, digest } = newToken();
      const given = allRights(rights);
      refuseMoreThanOwn(requester, { rights: given, root }, rootParameters);
      const nowS = clock() / 1000;
      const made: ApiToken = {
        ...{ uuid: id, name, owner: requester.name, rights: given, root, digest, lastUsed: null },
        ...{ ctime: nowS, mtime: nowS, serialNo: 0, expires: Math.floor(nowS) + expires_in },
      };
      await configStore.commit(
        (view) => {
          const expired = [...view.tokens.values()].filter((token) => token.expires <= nowS);
          if (view.tokens.size - expired.length >= TOKENS_LIMIT)
            throw new HttpError(409, `There are ${TOKENS_LIMIT} API tokens already; revoke some`);
          return [
            ...expired.map((remove) => ({ kind: "token", remove }) as const),
            { kind: "token", put: made } as const,
          ];
        },
        leadersFence(leader, "changes API tokens"),
      );
      return { ...jsonAnswer({ ...shown(made), token: text }), subject: id };
    },
    deleteToken: async (request) => {
      const id = pathParam(request, "token_id");
      const known = (token: ApiToken | undefined) => {
        if (token === undefined || !mayManage(request.requester, token)) throw notFound();
        return token;
      };
      known(configStore.view.tokens.get(id));
      await configStore.commit(
        (view) => [{ kind: "token", remove: known(view.tokens.get(id)) }],
        leadersFence(leader, "changes API tokens"),
      );
      return jsonAnswer(null);
    },
  };
}

/** One's own; who may write, everybody's. */
function mayManage({ name, options }: Requester, { owner }: ApiToken): boolean {
  return owner === name || options.has("write");
}

function allRights({ all, ...named }: ApiTokenBody["rights"]): ApiToken["rights"] {
  const rights: ApiToken["rights"] = {};
  for (const kind of RESOURCE_KINDS) {
    const right = named[kind] ?? all;
    if (right !== undefined) rights[kind] = right;
  }
  return rights;
}

/** @throws HttpError 403 */
function refuseMoreThanOwn(
  requester: Requester,
  { rights, root }: Pick<ApiToken, "rights" | "root">,
  rootParameters: RootParameters,
): void {
  if (Object.values(rights).includes("write") && !requester.options.has("write"))
    throw forbidden("A token cannot give the right to write, which its maker has not");
  if (root && !mayBeRoot(requester, rootParameters))
    throw forbidden(`A token cannot be given root by a user without the option ${rootParameters}`);
}

function shown({ uuid, name, owner, rights, root, ctime, expires, lastUsed }: ApiToken) {
  return { id: uuid, name, owner, rights, root, ctime, expires, last_used: lastUsed };
}
