import { lookup } from "node:dns/promises";
import { OpPrereqError } from "@gannet/errors";
import { ClusterRename } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";

/**
 * The cluster gets another name. Its address stays: where clients reach it under the new name is for the name service
 * to say, and whether that fits is told in the job's log.
 */
export const clusterRename = implement(ClusterRename, {
  locks: () => [exclusive.bigLock],

  async checkPrereq({ config }, { name }) {
    if (name === config.cluster.name)
      throw new OpPrereqError(`The cluster's name is ${name} already; nothing would change`, "wrong_input");
    const taken = [...config.nodes.values(), ...config.instances.values()].some((each) => each.name === name);
    if (taken) throw new OpPrereqError(`${name} is the name of a node or an instance`, "already_exists");
    return { warnings: await addressWarnings(name, config.cluster.masterIp) };
  },

  hooks: (view, { name }) =>
    masterHooks(view, "cluster-rename", "CLUSTER", { NEW_NAME: name }, { post: [...view.nodes.keys()] }),

  async exec(ctx, { name }, { warnings }) {
    for (const warning of warnings) ctx.feedback.warning(warning);
    await ctx.commit(({ cluster }) => [{ kind: "cluster", put: { ...cluster, name } }]);
    ctx.feedback.info("The remote API's certificate names the former name; renew it where clients check it");
    return name;
  },
});

async function addressWarnings(name: string, address: string): Promise<readonly string[]> {
  try {
    const found = await lookup(name, { all: true });
    if (found.some((each) => each.address === address)) return [];
    const addresses = found.map((each) => each.address).join(", ");
    return [`${name} resolves to ${addresses}, and the cluster's address is ${address}`];
  } catch (error) {
    return [`${name} does not resolve (${(error as Error).message}); the cluster's address is ${address}`];
  }
}
