/** The nodes' names in the hosts files of all nodes, where the cluster keeps them (`modify_etc_hosts`). */
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";

/**
 * Let every node's hosts file name the nodes that there are now. A node that cannot be told is warned of: it is told the
 * next time, or by OP_CLUSTER_REDIST_CONF.
 */
export async function tellHostsFiles(ctx: ExecContext): Promise<void> {
  const { cluster, nodes } = ctx.config;
  if (!cluster.modifyEtcHosts) return;
  const hosts = [...nodes.values()]
    .map(({ name, primaryIp: address }) => ({ name, address }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const told = [...nodes.values()].filter(({ offline }) => !offline);
  await Promise.all(
    told.map(async ({ uuid, name }) => {
      const failure = await failureOf(ctx, async () => {
        const request = { step: ctx.step(`hosts/${uuid}`), hosts };
        const { contradicted } = await ctx.node(uuid).node.setHosts(request, { signal: ctx.signal });
        for (const host of contradicted)
          ctx.feedback.warning(`The hosts file of node ${name} gives ${host} another address, in a line of its own`);
      });
      if (failure !== undefined)
        ctx.feedback.warning(`The hosts file of node ${name} was not changed: ${failure.message}`);
    }),
  );
}
