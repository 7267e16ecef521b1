/** What scenarios on two nodes have in common. */
import { eventually } from "../../e2e/conditions.ts";
import type { Lab, NodeInLab } from "../lab.ts";
import { LabInstance } from "../lab-instance.ts";

const SYNC_TIMEOUT_MS = 300_000;

/** The first nodes of the lab, switched on. */
export async function twoNodes(lab: Lab): Promise<readonly [NodeInLab, NodeInLab]> {
  const [first, second] = await lab.use(2);
  if (first === undefined || second === undefined) throw new Error("the lab has fewer than two nodes");
  return [first, second];
}

/** A running DRBD instance, created with its disks in sync. */
export async function mirroredInstance(
  lab: Lab,
  name: string,
  body: Readonly<Record<string, unknown>> = {},
): Promise<LabInstance> {
  const [primary, secondary] = await twoNodes(lab);
  return await LabInstance.create(lab, { name, template: "drbd", primary, secondary, body });
}

/** One line of `/proc/drbd`: `cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----`. */
export async function mirrorLine(instance: LabInstance, node: NodeInLab): Promise<string> {
  const device = await instance.device(node);
  const minor = device.replace("/dev/drbd", "");
  return (await node.machine.run(`grep -E '^ *${minor}: ' /proc/drbd || true`)).trim();
}

export async function inSync(instance: LabInstance, node: NodeInLab): Promise<void> {
  const isInSync = async () => /cs:Connected .* ds:UpToDate\/UpToDate/.test(await mirrorLine(instance, node));
  await eventually(`${instance.name} is in sync on ${node.name}`, isInSync, { timeoutMs: SYNC_TIMEOUT_MS });
}

/** @throws Error showing both values */
export function expectEqual<Value>(what: string, actual: Value, expected: Value): void {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)} instead of ${String(expected)}`);
}
