/** Power of nodes, their health, and commands of their administrators. */
import { NodeUnreachable, OpExecError } from "@gannet/errors";
import { parseOpcode } from "@gannet/opcodes";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const PROGRAM = "/usr/local/sbin/oob";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed({ ndparams: { oob_program: PROGRAM } });
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.calls.length = 0;
  bed.nodes.named(NODE1).oobOutputs.clear();
  for (const name of NODES) await bed.setNode(name, { offline: false, powered: true, ndparams: {} });
});

async function refused(id: string, params: Readonly<Record<string, unknown>>, code: string, words: RegExp) {
  expect((await bed.run(id, params)).result).toEqual(["OpPrereqError", [expect.stringMatching(words), code]]);
  expect(bed.nodes.calls).toEqual([]);
}
const locksOf = (opcode: Readonly<Record<string, unknown>>) => {
  const { declaration, op } = parseOpcode(opcode);
  const names = new Map<string, string>([...bed.view.nodes.values()].map(({ uuid, name }) => [uuid, name]));
  const wishes = LOGICAL_UNITS.get(declaration.id)?.locks(op, bed.view) ?? [];
  return wishes.map(({ level, name, mode }) => `${mode} ${level}/${names.get(name) ?? name}`);
};

describe("OP_OOB_COMMAND", () => {
  const oob = (params: Readonly<Record<string, unknown>>) =>
    bed.succeed("OP_OOB_COMMAND", { node_names: [NODE2], power_delay: 0, ...params });
  const poweredOf = (name: string) => bed.view.findNode(name)?.powered;

  test("powers nodes off and on by the program, run on the master node, and notes it", async () => {
    await bed.setNode(NODE3, { offline: true });
    const off = await oob({ node_names: [NODE3], command: "power-off", timeout: 7 });
    expect(off.result).toEqual([
      [
        [0, NODE3],
        [0, null],
      ],
    ]);
    expect(bed.nodes.calls.map(({ node, method, request }) => ({ node, method, request }))).toEqual([
      {
        node: NODE1,
        method: "node.runOob",
        request: expect.objectContaining({
          ...{ program: PROGRAM, command: "power-off", nodeName: NODE3, timeoutMs: 7000 },
        }),
      },
    ]);
    expect(poweredOf(NODE3)).toBe(false);
    await oob({ node_names: [NODE3], command: "power-on" });
    expect(poweredOf(NODE3)).toBe(true);
  });

  test("asks all nodes, in their order, when none are named; those without a program have no answer", async () => {
    await bed.setNode(NODE2, { ndparams: { oob_program: "" } });
    for (const name of NODES) bed.nodes.named(NODE1).oobOutputs.set(name, '{"powered": true}');
    const { result } = await oob({ node_names: [], command: "power-status" });
    expect(result).toEqual([
      [
        [0, NODE1],
        [0, { powered: true }],
      ],
      [
        [0, NODE2],
        [3, null],
      ],
      [
        [0, NODE3],
        [0, { powered: true }],
      ],
    ]);
  });

  test("power-cycle of all nodes spares the master", async () => {
    const { result } = await oob({ node_names: [], command: "power-cycle" });
    expect((result as [[number, string]][]).map(([[, name]]) => name)).toEqual([NODE2, NODE3]);
  });

  test("tells of bad health, and of power that is not what was thought", async () => {
    const { oobOutputs } = bed.nodes.named(NODE1);
    oobOutputs.set(NODE2, '[["fan 1", "OK"], ["psu 2", "CRITICAL"]]');
    const health = await oob({ command: "health" });
    expect(health.result).toEqual([
      [
        [0, NODE2],
        [
          0,
          [
            ["fan 1", "OK"],
            ["psu 2", "CRITICAL"],
          ],
        ],
      ],
    ]);
    expect(health.log).toEqual([` - WARNING: Item 'psu 2' on node '${NODE2}' has status 'CRITICAL'`]);
    oobOutputs.set(NODE2, '{"powered": false}');
    const status = await oob({ command: "power-status" });
    expect(status.log.join()).toContain("was thought to be powered on and is off");
    expect(poweredOf(NODE2)).toBe(true);
  });

  test.each([
    ["health", "no json"],
    ["health", '[["fan", "GOOD"]]'],
    ["power-status", '{"power": true}'],
    ["power-on", '{"done": true}'],
  ])("of %s that prints %s there is no answer", async (command, output) => {
    bed.nodes.named(NODE1).oobOutputs.set(NODE2, output);
    await bed.setNode(NODE2, { powered: false });
    const { result, log } = await oob({ command });
    expect(result).toEqual([
      [
        [0, NODE2],
        [2, null],
      ],
    ]);
    expect(log.join()).toContain(`WARNING: Out-of-band command on node '${NODE2}' failed`);
    expect(poweredOf(NODE2)).toBe(false);
  });

  test("of a program that fails there is no answer, and the others are asked nevertheless", async () => {
    bed.nodes.failures = [{ node: NODE1, method: "node.runOob", error: new OpExecError("exit code 1"), times: 1 }];
    const { result } = await oob({ node_names: [NODE2, NODE3], command: "power-cycle" });
    expect((result as unknown[][]).map(([, answer]) => answer)).toEqual([
      [2, null],
      [0, null],
    ]);
  });

  test.each([
    [{ node_names: ["node9.gnt.test"], command: "health" }, "unknown_entity", /not known/],
    [{ node_names: [NODE1], command: "power-off" }, "wrong_input", /master node.*'\/usr\/local\/sbin\/oob power-off/],
    [{ node_names: [NODE2, NODE1], command: "power-cycle" }, "wrong_input", /master node/],
    [{ node_names: [NODE2], command: "power-off" }, "wrong_state", /not marked offline/],
    [{ node_names: [NODE2], command: "health", timeout: 0 }, "wrong_input", /timeout/],
  ])("refuses %j", (params, code, words) => refused("OP_OOB_COMMAND", params, code, words));

  test("powers off nodes that are in service where their status is ignored", async () => {
    await oob({ command: "power-off", ignore_status: true });
    expect(poweredOf(NODE2)).toBe(false);
  });

  test("locks the nodes, or all", () => {
    const opcode = { OP_ID: "OP_OOB_COMMAND", command: "health" };
    expect(locksOf({ ...opcode, node_names: [NODE2, NODE2] })).toEqual([`exclusive node/${NODE2}`]);
    expect(locksOf(opcode)).toEqual(["exclusive node/[lockset]"]);
  });
});

describe("OP_NODE_POWERCYCLE", () => {
  test("asks the node's agent, also of one that is marked offline, and waits for no lock", async () => {
    await bed.setNode(NODE3, { offline: true });
    const { result } = await bed.succeed("OP_NODE_POWERCYCLE", { node_name: NODE3 });
    expect(result).toBe("Reboot scheduled in 5 seconds");
    expect(bed.nodes.story("node.powercycle")).toEqual([`${NODE3} node.powercycle /0`]);
    expect(locksOf({ OP_ID: "OP_NODE_POWERCYCLE", node_name: NODE3 })).toEqual([]);
  });

  test("of the master needs force", async () => {
    await refused("OP_NODE_POWERCYCLE", { node_name: NODE1 }, "wrong_input", /is the master.*force/);
    await refused("OP_NODE_POWERCYCLE", { node_name: "node9.gnt.test" }, "unknown_entity", /not known/);
    await bed.succeed("OP_NODE_POWERCYCLE", { node_name: NODE1, force: true });
  });
});

describe("OP_RESTRICTED_COMMAND", () => {
  test("runs on each node, and tells of those on which it failed", async () => {
    bed.nodes.failures = [
      { node: NODE2, method: "node.runRestrictedCommand", error: new NodeUnreachable(NODE2, "no answer") },
    ];
    const { result } = await bed.succeed("OP_RESTRICTED_COMMAND", { nodes: [NODE3, NODE2], command: "uptime" });
    expect(result).toEqual([
      [true, `uptime on ${NODE3}`],
      [false, `Command 'uptime' on node '${NODE2}' failed: no answer`],
    ]);
  });

  test("locks its nodes, for itself alone where it is told to", async () => {
    const opcode = { OP_ID: "OP_RESTRICTED_COMMAND", nodes: [NODE3, NODE2], command: "uptime" };
    expect(locksOf(opcode)).toEqual([`shared node/${NODE3}`, `shared node/${NODE2}`]);
    expect(locksOf({ ...opcode, use_locking: true })).toEqual([`exclusive node/${NODE3}`, `exclusive node/${NODE2}`]);
    await refused("OP_RESTRICTED_COMMAND", { nodes: ["node9.gnt.test"], command: "x" }, "unknown_entity", /not known/);
  });
});
