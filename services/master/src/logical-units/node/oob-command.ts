import { setTimeout as delay } from "node:timers/promises";
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, Node } from "@gannet/objects";
import { OobCommand, type OobCommandWord, type Op } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";
import { type OobPayload, oobPayload } from "./oob-payload.ts";
import { oobProgramOf } from "./set-params-plan.ts";

type OobOp = Op<typeof OobCommand>;
/** As cells of queries (spec/query-fields.json). */
type Cell = [status: 0 | 2 | 3, value: unknown];
const NORMAL = 0;
const NO_DATA = 2;
const UNAVAILABLE = 3;

/** What would take this very master down is not done to it. */
const NOT_OF_THE_MASTER: readonly OobCommandWord[] = ["power-off", "power-cycle"];
/** As long as nodes are given for anything. */
const LONGEST_TIMEOUT_S = 3600;

/** Commands of the nodes' out-of-band program, which the master node's agent runs for one node after the other. */
export const oobCommand = implement(OobCommand, {
  locks(op, view) {
    const names = namesOf(op);
    if (names.length === 0) return [exclusive.all("node")];
    return [...new Set(names.flatMap((name) => view.findNode(name)?.uuid ?? []))].map(exclusive.node);
  },

  checkPrereq(ctx, op) {
    if (op.timeout < 1 || op.timeout > LONGEST_TIMEOUT_S)
      throw new OpPrereqError(`The timeout must be from 1 to ${LONGEST_TIMEOUT_S} seconds`, "wrong_input");
    const nodes = meantNodes(ctx.config, op);
    const online = nodes.find(({ offline }) => !offline);
    if (op.command === "power-off" && !op.ignore_status && online !== undefined)
      throw new OpPrereqError(
        `Node ${online.name} is not marked offline: mark it so before it is powered off, or ignore its status`,
        "wrong_state",
      );
    return nodes.toSorted((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  },

  async exec(ctx, op, nodes) {
    const rows: Cell[][] = [];
    for (const [position, node] of nodes.entries()) {
      const cell = await answerOf(ctx, op, node);
      rows.push([[NORMAL, node.name], cell]);
      const goesOn = position + 1 < nodes.length;
      if (op.command === "power-on" && cell[0] === NORMAL && goesOn)
        await delay(op.power_delay * 1000, undefined, { signal: ctx.signal });
    }
    return rows;
  },
});

function namesOf(op: OobOp): readonly string[] {
  return op.node_uuids ?? op.node_names;
}

/** @throws OpPrereqError */
function meantNodes(view: ConfigView, op: OobOp): readonly Node[] {
  const { masterNode } = view.cluster;
  const spared = NOT_OF_THE_MASTER.includes(op.command);
  const names = namesOf(op);
  if (names.length === 0) return [...view.nodes.values()].filter(({ uuid }) => !(spared && uuid === masterNode));
  const nodes = new Map(names.map((name) => knownNode(view, name)).map((node) => [node.uuid, node]));
  const master = nodes.get(masterNode);
  if (spared && master !== undefined) {
    const program = oobProgramOf(view, master);
    const way =
      program === "" ? "it has no out-of-band program" : `by hand it is '${program} ${op.command} ${master.name}'`;
    throw new OpPrereqError(`${op.command} is not done to the master node ${master.name}: ${way}`, "wrong_input");
  }
  return [...nodes.values()];
}

async function answerOf(ctx: ExecContext, op: OobOp, node: Node): Promise<Cell> {
  const program = oobProgramOf(ctx.config, node);
  if (program === "") return [UNAVAILABLE, null];
  let payload: OobPayload | undefined;
  const failure = await failureOf(ctx, async () => {
    const { command, timeout } = op;
    const { output } = await ctx
      .node(ctx.config.cluster.masterNode)
      .node.runOob(
        { step: ctx.step(`${command}/${node.uuid}`), program, command, nodeName: node.name, timeoutMs: timeout * 1000 },
        { signal: ctx.signal },
      );
    payload = oobPayload(command, output);
  });
  if (failure !== undefined || payload === undefined) {
    ctx.feedback.warning(`Out-of-band command on node '${node.name}' failed: ${failure?.message}`);
    return [NO_DATA, null];
  }
  await takeNote(ctx, node, payload);
  return [NORMAL, payload.data];
}

async function takeNote(ctx: ExecContext, node: Node, { command, data }: OobPayload): Promise<void> {
  switch (command) {
    case "power-on":
    case "power-off":
      await notePower(ctx, node, command === "power-on");
      break;
    case "power-status":
      if (data.powered !== node.powered)
        ctx.feedback.warning(
          `Node '${node.name}' was thought to be powered ${onOrOff(node.powered)} and is ${onOrOff(data.powered)}; ` +
            "modify it with powered to note that",
        );
      break;
    case "health":
      for (const [item, status] of data)
        if (status === "WARNING" || status === "CRITICAL")
          ctx.feedback.warning(`Item '${item}' on node '${node.name}' has status '${status}'`);
      break;
    case "power-cycle":
  }
}

const onOrOff = (powered: boolean): string => (powered ? "on" : "off");

async function notePower(ctx: ExecContext, { uuid }: Node, powered: boolean): Promise<void> {
  await ctx.commit((view) => {
    const row = view.nodes.get(uuid);
    return row === undefined ? [] : [{ kind: "node", put: { ...row, powered } }];
  });
}
