/** Waiting for second copies that are not made, or of which nobody can tell. */
import { NodeUnreachable } from "@gannet/errors";
import type { Disk, Instance, NodeUuid } from "@gannet/objects";
import type { MirrorStatus, MirrorStatusReply } from "@gannet/rpc";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ExecContext } from "../../src/executor/context.ts";
import { durationText, tellSplitBrain, waitForSync } from "../../src/logical-units/instance/mirror-steps.ts";
import { diskRow, instanceRow, nodeRow, smallCluster } from "../rapi/cluster-fixture.ts";

const { pauses } = vi.hoisted(() => ({ pauses: [] as number[] }));
vi.mock("node:timers/promises", () => ({
  setTimeout: async (ms: number) => void pauses.push(ms),
}));

const [PRIMARY, SECONDARY] = [nodeRow("a.gnt.test"), nodeRow("b.gnt.test", { secondaryIp: "192.0.2.10" })];
const NODES = [PRIMARY.uuid, SECONDARY.uuid] as NodeUuid[];
const disk: Disk = diskRow("mirrored", {
  template: "drbd",
  nodes: NODES,
  logicalId: [...NODES, 11_000, 0, 0, "5ec2e7"],
  children: [],
});
const instance: Instance = instanceRow("web1.gnt.test", { primaryNode: PRIMARY.uuid, disks: [disk.uuid] });
const { cluster } = smallCluster();
const view = {
  cluster,
  groups: new Map(),
  nodes: new Map([PRIMARY, SECONDARY].map((node) => [node.uuid, node])),
  disksOf: () => [disk],
  secondaryNodes: () => [SECONDARY.uuid],
} as unknown as ExecContext["config"];

const WHOLE: MirrorStatus = {
  ...{ role: "primary", peerRole: "secondary", connection: "connected", localDisk: "uptodate", peerDisk: "uptodate" },
  ...{ degraded: false, splitBrain: false },
};
const ALONE: MirrorStatus = { ...WHOLE, connection: "connecting", peerDisk: "unknown", degraded: true };
const at = (syncPercent: number, estimatedSeconds?: number): MirrorStatus => ({
  ...{ ...ALONE, connection: "syncing", syncPercent },
  ...(estimatedSeconds === undefined ? {} : { estimatedSeconds }),
});

let log: string[];
/** A context whose node answers these in turn, the last one for ever. */
function contextOf(...answers: readonly (MirrorStatus | Error | string)[]): ExecContext {
  let asked = -1;
  const mirrorStatus = async (): Promise<MirrorStatusReply> => {
    asked += 1;
    const answer = answers[Math.min(asked, answers.length - 1)];
    if (answer instanceof Error) throw answer;
    return typeof answer === "string"
      ? { disks: [{ status: undefined, problem: answer }] }
      : { disks: [{ status: answer, problem: "" }] };
  };
  const told = (text: string) => void log.push(text);
  return {
    node: () => ({ blockDevices: { mirrorStatus } }),
    feedback: { info: told, step: told, warning: told },
    signal: new AbortController().signal,
  } as unknown as ExecContext;
}

beforeEach(() => {
  log = [];
  pauses.length = 0;
});
afterEach(() => {
  vi.clearAllMocks();
});

test("looks more seldom the longer it takes, and often when the end is near", async () => {
  const steps = Array.from({ length: 30 }, (_, step) => at(step, step < 29 ? 7_200 : 3));
  expect(await waitForSync(contextOf(...steps, WHOLE), view, instance)).toBe(true);
  expect(pauses.slice(0, 5)).toEqual([200, 200, 200, 300, 450]);
  expect(Math.max(...pauses)).toBe(60_000);
  expect(pauses.at(-1)).toBe(1_500);
  expect(log).toContain("- device disk/0: 5.00% done, 2h 0m 0s remaining (estimated)");
});

test("tells when there is no estimate", async () => {
  await waitForSync(contextOf(at(50), WHOLE), view, instance);
  expect(log).toContain("- device disk/0: 50.00% done, no time estimate");
});

test("says at once that the copies are split, and does not wait for what will not come", async () => {
  const split: MirrorStatus = { ...ALONE, connection: "standalone", splitBrain: true };
  expect(await waitForSync(contextOf(split), view, instance)).toBe(false);
  expect(pauses).toEqual([]);
  expect(log.join("\n")).toMatch(/disk\/0: split brain/);
});

test("lets ends meet before it says how they are", async () => {
  const split: MirrorStatus = { ...ALONE, connection: "standalone", splitBrain: true };
  await tellSplitBrain(contextOf(ALONE, ALONE, ALONE, split), view, instance);
  expect(log.join("\n")).toMatch(/^disk\/0: split brain/);
  log = [];
  await tellSplitBrain(contextOf(ALONE), view, instance);
  await tellSplitBrain(contextOf(WHOLE), view, instance);
  expect(log).toEqual([]);
  pauses.length = 0;
  await tellSplitBrain(contextOf(ALONE, new NodeUnreachable("b.gnt.test", "no answer")), view, instance);
  expect(log).toEqual([expect.stringMatching(/^Cannot tell how the copies of the disks are: no answer/)]);
  expect(pauses).toEqual([]);
});

test("gives an end time to find its peer, and then says that the disk is degraded", async () => {
  expect(await waitForSync(contextOf(ALONE, ALONE, at(1, 1), WHOLE), view, instance)).toBe(true);
  expect(await waitForSync(contextOf(ALONE), view, instance)).toBe(false);
  expect(await waitForSync(contextOf(ALONE), view, instance, { until: "connected" })).toBe(false);
  expect(await waitForSync(contextOf(at(1, 9_999)), view, instance, { until: "connected" })).toBe(true);
});

test("asks a node that does not answer again, and gives it up in the end", async () => {
  const unreachable = new NodeUnreachable("a.gnt.test", "no answer");
  expect(await waitForSync(contextOf(unreachable, "it is not up", WHOLE), view, instance)).toBe(true);
  expect(log.filter((text) => text.includes("a.gnt.test"))).toHaveLength(2);
  await expect(waitForSync(contextOf(unreachable), view, instance)).rejects.toThrow(/a\.gnt\.test does not tell/);
});

test("other failures are not waited out", async () => {
  await expect(waitForSync(contextOf(new Error("garbage")), view, instance)).rejects.toThrow("garbage");
  expect(pauses).toEqual([]);
});

test.each([
  [0, "0s"],
  [59.6, "1m 0s"],
  [3_725, "1h 2m 5s"],
])("%d seconds are %s", (seconds, text) => {
  expect(durationText(seconds)).toBe(text);
});
