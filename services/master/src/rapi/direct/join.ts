/** `/2/join-tokens` and `/2/join`: how nodes and masters join the cluster. */
import type { JoinToken } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import { type JoinBody, type JoinCompletionBody, type JoinTokenBody, NodeAdd } from "@gannet/opcodes";
import type { Joining } from "../../membership/joining.ts";
import { JoinRefused } from "../../membership/joining.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type HandlerRequest, type Handlers, pathParam } from "../handlers.ts";
import { refuseRoot } from "../job-submission.ts";
import { leadersFence } from "../leaders-fence.ts";
import { DEFAULT_LOGIN_LIMITS, LoginLimiter } from "../login-limiter.ts";
import { forbidden, notFound } from "../refusals.ts";
import { mayBeRoot } from "../rights.ts";

/** Who joins, among the names that may be guessed at: each token is one guess. */
const JOINER = "joining";
const LIMITS = { ...DEFAULT_LOGIN_LIMITS, failures: 5 };

export function joinHandlers({ joining, leader, rootParameters, fileRoots }: DirectContext): Handlers {
  const limiter = new LoginLimiter(LIMITS);
  const parts = (): Joining => {
    if (joining !== undefined) return joining;
    throw new OpPrereqError("This master takes part in no joining", "environment_error");
  };
  const limited = async <T>({ address }: HandlerRequest, work: () => Promise<T>): Promise<T> => {
    const guess = limiter.begin(address, JOINER);
    let isWrong = false;
    try {
      return await work();
    } catch (error) {
      isWrong = error instanceof JoinRefused;
      throw error;
    } finally {
      if (isWrong) guess.failed();
      else guess.ended();
    }
  };

  return {
    listJoinTokens: async () => jsonAnswer((await parts().openTokens()).map(shown)),
    addJoinToken: async ({ body, requester }) => {
      if ((body as JoinTokenBody).role === "master" && !mayBeRoot(requester, rootParameters))
        throw forbidden("A machine that joins as a master is given the cluster's keys, which takes the right of root");
      // The job that takes the machine in is submitted for the one who makes the token.
      refuseRoot({ rootParameters, fileRoots }, [{ ...(body as JoinTokenBody), OP_ID: NodeAdd.id }], requester);
      const fence = leadersFence(leader, "makes tokens for joining");
      const { token, text, fingerprint } = await parts().makeToken(body as JoinTokenBody, requester.name, fence);
      const command = commandOf(token, text);
      const answer = jsonAnswer({ ...shown(token), token: text, ca_fingerprint: fingerprint, command });
      return { ...answer, subject: `${token.id} ${token.nodeName}` };
    },
    revokeJoinToken: async (request) => {
      const fence = leadersFence(leader, "revokes tokens for joining");
      if (!(await parts().revokeToken(pathParam(request, "token_id"), fence))) throw notFound();
      return jsonAnswer(null);
    },
    join: (request) =>
      limited(request, async () => {
        const fence = leadersFence(leader, "lets machines join");
        const { token, answer } = await parts().join(request.body as JoinBody, fence);
        return { ...jsonAnswer(answer), subject: `${token.id} ${token.nodeName}` };
      }),
    completeJoin: (request) =>
      limited(request, async () => {
        leadersFence(leader, "lets machines join");
        const { token, ...completion } = await parts().complete((request.body as JoinCompletionBody).token);
        return { ...jsonAnswer(completion), subject: `${token.id} ${token.nodeName}`, job: completion.job };
      }),
  };
}

function shown({ id, role, nodeName, maker, expires }: JoinToken) {
  return { id, role, node_name: nodeName, maker, expires };
}

function commandOf({ role }: JoinToken, text: string): string {
  return role === "node" ? `gannet-node join URL --token ${text}` : `gannet-admin join-master URL --token ${text}`;
}
