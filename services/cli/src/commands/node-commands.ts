/** What Ganeti's `gnt-node` does by operations that are not of nodes, or by a part of one that is. */
import { command, InstanceFailover, OobCommand } from "@gannet/opcodes";
import type { CommandSpec } from "../command.ts";
import { confirm } from "../confirmation.ts";
import { EXIT } from "../exit-codes.ts";
import { runJobs } from "../jobs/run-jobs.ts";
import { opcodeCommand, paramsOf } from "./opcode-command.ts";

const ONE_FAILOVER = command("node failover", {
  args: ["instance_name"],
  fixed: { cleanup: false },
  doc: "Stop all instances that run on a node, and start them on their other nodes.",
});
const failoverOfOne = opcodeCommand(InstanceFailover, ONE_FAILOVER);

const failover: CommandSpec = {
  ...failoverOfOne,
  shape: () => ({
    ...failoverOfOne.shape(),
    args: [{ name: "node_name", doc: "The node that they are to leave.", required: true, variadic: false }],
  }),
  run: async (workplace, [name], gathered) => {
    const { client, terminal } = workplace;
    const node = String(name);
    const { pinst_list: names } = await (await client()).get("/2/nodes/:node_name", { node_name: node });
    if (names.length === 0) {
      terminal.note(`No instance has ${node} as its primary node`);
      return EXIT.done;
    }
    const all = names.map((instance) => paramsOf(InstanceFailover, ONE_FAILOVER, [instance], gathered));
    await confirm("node failover", names, gathered, terminal);
    return await runJobs(workplace, InstanceFailover, all, gathered.control);
  },
};

const health = opcodeCommand(
  OobCommand,
  command("node health", {
    args: ["node_names"],
    fixed: { command: "health", ignore_status: false, power_delay: 0 },
    doc: "Ask the nodes' out-of-band programs how the machines are; all nodes where none is named.",
  }),
);

export const NODE_COMMANDS: readonly CommandSpec[] = [failover, health];
