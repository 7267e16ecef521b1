/** Creations and removals of instances, each step failing once. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, startLogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import { type ClusterImage, imageOf, restore } from "./cluster-image.ts";
import { failEachStep, type Scenario } from "./failing-steps.ts";
import { COPYING, create, HOLDING_UP, INSTANCE, NODE1, NODE3, running } from "./scenarios.ts";

let bed: LogicalUnitBed;
let fresh: ClusterImage;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  bed.nodes.syncLooks = 0;
  fresh = imageOf(bed);
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(() => restore(bed, fresh));

/** What somebody has made by hand, and uses. */
function byHand(name: string): NonNullable<Scenario["prepare"]> {
  return ({ nodes }) => {
    const { volumes, active } = nodes.named(NODE1);
    volumes.set(name, { owner: undefined, sizeMib: 1024, inUse: false, contents: "theirs" });
    active.add(name);
  };
}

const SCENARIOS: readonly Scenario[] = [
  ...["plain", "drbd", "file", "sharedfile", "rbd", "ext", "gluster", "diskless"].map((template) => ({
    name: `create in ${template}`,
    run: create(template),
  })),
  { name: "create in blockdev", prepare: byHand("manual//dev/disk/by-id/one"), run: create("blockdev") },
  {
    name: "create of adopted volumes",
    prepare: byHand("xenvg/data"),
    run: create("plain", { disks: [{ adopt: "data" }] }),
  },
  {
    name: "create without waiting for the copy",
    run: create("drbd", { wait_for_sync: false }),
    documented: HOLDING_UP,
  },
  {
    name: "create with disks that are wiped",
    prepare: (on) => on.setCluster({ preallocWipeDisks: true }),
    run: create("drbd"),
    documented: HOLDING_UP,
  },
  {
    name: "import",
    given: [
      ...running("plain"),
      ["OP_BACKUP_EXPORT", { ...INSTANCE, target_node: NODE3, shutdown: true }],
      ["OP_INSTANCE_REMOVE", INSTANCE],
    ],
    run: create("plain", { mode: "import", src_node: NODE3 }),
    documented: COPYING,
  },
  {
    name: "remove",
    given: running("drbd"),
    run: ["OP_INSTANCE_REMOVE", INSTANCE],
    documented: [
      {
        at: /instances.stop/,
        way: "lost",
        outcome: "to be repeated",
        because: "a guest that is to be removed is not started again",
      },
      {
        at: / remove /,
        outcome: "to be repeated",
        because: "what is removed is not to be had back; the configuration, which goes last, knows what there is",
      },
    ],
  },
  {
    name: "remove whatever fails",
    given: running("drbd"),
    run: ["OP_INSTANCE_REMOVE", { ...INSTANCE, ignore_failures: true }],
    documented: [
      { at: /./, way: "lost", outcome: "done", because: "that is asked for" },
      { at: /./, way: "refused", outcome: "done, left behind", because: "that is asked for" },
    ],
  },
];

test.each(SCENARIOS)("$name", async (scenario) => {
  expect(await failEachStep(bed, scenario)).toEqual([]);
});
