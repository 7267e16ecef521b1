/** Debian's own hail reads the same messages, and finds places where ours does. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { type AllocatorInput, checkedResult, solve } from "@gannet/allocator";
import { defaultsOf, NODE_PARAMETERS } from "@gannet/objects";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { allocateRequest, anyCluster } from "./clusters.ts";

const HAIL = "/usr/lib/ganeti/iallocators/hail";
const run = promisify(execFile);
/** Clusters of which two allocators can be expected to differ: the policies of both groups are the same. */
const questions = fc.record({
  cluster: anyCluster,
  template: fc.constantFrom("drbd", "plain"),
  memory: fc.constantFrom(512, 1_024, 3_000),
  size: fc.constantFrom(1_024, 8_192),
});
const COUNT = 60;
const SEED = 7;

if (!existsSync(HAIL)) console.log("skipped: ganeti-htools is not installed");

describe.skipIf(!existsSync(HAIL))("hail of ganeti-htools", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gannet-hail-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** What it answers; it looks at the new instance's place only, as ours does, not at what fits nowhere before. */
  async function ask(input: AllocatorInput): Promise<unknown> {
    const file = path.join(folder, "input.json");
    await writeFile(file, JSON.stringify(input));
    const { stdout } = await run(HAIL, [file, "--no-capacity-checks"]);
    return JSON.parse(stdout);
  }

  test("reads every message, answers as is expected of allocators, and mostly as ours does", async () => {
    const counts = { same: 0, placedElsewhere: 0, bothRefuse: 0, differ: 0 };
    for (const { cluster, template, memory, size } of fc.sample(questions, { seed: SEED, numRuns: COUNT })) {
      const nodes = Object.fromEntries(
        Object.entries(cluster.nodes).map(([name, node]) => [name, { ...node, ndparams: defaultsOf(NODE_PARAMETERS) }]),
      );
      const disks = [{ size, mode: "rw" }];
      const input = { ...cluster, nodes, request: allocateRequest({ disk_template: template, memory, disks }) };
      const [theirs, ours] = [(await ask(input)) as { success: boolean; result: unknown }, solve(input)];
      if (theirs.success) checkedResult(input, theirs);
      else expect(() => checkedResult(input, theirs)).toThrow(/no solution/);
      if (theirs.success !== ours.success) counts.differ += 1;
      else if (!ours.success) counts.bothRefuse += 1;
      else if (JSON.stringify(theirs.result) === JSON.stringify(ours.result)) counts.same += 1;
      else counts.placedElsewhere += 1;
    }
    console.log(JSON.stringify(counts));
    expect(counts.same).toBeGreaterThan(COUNT / 4);
    expect(counts.differ + counts.placedElsewhere).toBeLessThan(COUNT / 10);
  });
});
