/** Operations on the disks of existing instances, each step failing once. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, startLogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import { type ClusterImage, imageOf, restore } from "./cluster-image.ts";
import { type Documented, failEachStep, type Scenario } from "./failing-steps.ts";
import {
  CLEARING_AWAY,
  INSTANCE,
  lettingGo,
  NODE1,
  NODE2,
  NODE3,
  running,
  stopped,
  TELLING_THE_GUEST,
  withoutVolumes,
} from "./scenarios.ts";

let bed: LogicalUnitBed;
let fresh: ClusterImage;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  bed.nodes.syncLooks = 0;
  fresh = imageOf(bed);
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(() => restore(bed, fresh));

const setParams = (change: object): Scenario["run"] => ["OP_INSTANCE_SET_PARAMS", { ...INSTANCE, ...change }];
const growth: Scenario["run"] = ["OP_INSTANCE_GROW_DISK", { ...INSTANCE, disk: 0, amount: 512 }];
const replacement = (mode: string, more: object = {}): Scenario["run"] => [
  "OP_INSTANCE_REPLACE_DISKS",
  { ...INSTANCE, mode, disks: [], ...more },
];

/** What has grown cannot be made smaller. */
function growing(template: string): readonly Documented[] {
  const because =
    "a volume is not made smaller again; a growth that is repeated finds what has grown and does the rest";
  return [
    { at: new RegExp(`node2 grow ${template}`), way: "lost", outcome: "to be repeated", because },
    { at: new RegExp(`node1 grow ${template}`), outcome: "to be repeated", because },
  ];
}

function grownUnseen(at: RegExp): Documented {
  return {
    ...{ at, outcome: "done, told as failed" },
    because: "the disk has grown; whether its copy is whole is not known",
  };
}

const SEES_IT_LATER: Documented = {
  at: /instances\.hotplug/,
  outcome: "done",
  because: "the guest sees the new size once it is started anew",
};

/**
 * @param looks - which calls look whether the ends have met again
 * @param wait - which call waits until they are in sync
 */
function refilling(looks: RegExp, wait: RegExp): readonly Documented[] {
  return [
    {
      at: looks,
      outcome: "done",
      because: "ends that have not met again are not in sync either, which is found out next",
    },
    {
      at: wait,
      outcome: "done, told as failed",
      because: "the new volumes are in use and may be whole; the old ones are kept, and named, until it is known",
    },
  ];
}

/** The secondary that is given up may be dead. */
const GIVING_UP: Documented = {
  at: /node2 (shutdown|standBy)/,
  outcome: "done",
  because: "what is left on a secondary that is given up is removed in the end, or told of",
};

/** The change of a template is over once the instance has the new disks. */
const CONVERTED: readonly Documented[] = [
  {
    at: /mirrorStatus/,
    outcome: "done, told as failed",
    because: "the instance has the new disks; whether their second copies are whole is not known",
  },
  ...lettingGo(/ shutdown drbd/),
];

/** Disks that were copied. */
function oldDisks(template: string): readonly Documented[] {
  return [
    ...CLEARING_AWAY,
    {
      at: new RegExp(` shutdown ${template}/0 #2`),
      outcome: "done, left behind",
      because: "what may be in use is not destroyed",
    },
  ];
}

const TWO_DISKS = { disks: [{ size: 1024 }, { size: 2048, name: "data" }] };

const SCENARIOS: readonly Scenario[] = [
  {
    name: "activate",
    given: stopped("drbd"),
    run: ["OP_INSTANCE_ACTIVATE_DISKS", { ...INSTANCE, wait_for_sync: true }],
  },
  { name: "activate in plain", given: stopped("plain"), run: ["OP_INSTANCE_ACTIVATE_DISKS", INSTANCE] },
  {
    name: "deactivate",
    given: [...stopped("drbd"), ["OP_INSTANCE_ACTIVATE_DISKS", INSTANCE]],
    run: ["OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE],
    documented: [
      {
        at: / shutdown /,
        outcome: "to be repeated",
        because: "they are still recorded as active, so that whoever needs them brings them up again",
      },
    ],
  },
  {
    name: "grow",
    given: running("drbd"),
    run: growth,
    documented: [...growing("drbd"), SEES_IT_LATER, grownUnseen(/mirrorStatus/)],
  },
  {
    name: "grow while it is down",
    given: stopped("drbd"),
    run: growth,
    documented: [
      ...growing("drbd"),
      grownUnseen(/mirrorStatus #2/),
      ...lettingGo(/node2 shutdown/),
      ...lettingGo(/node1 shutdown/),
    ],
  },
  {
    name: "grow in plain",
    given: running("plain"),
    run: growth,
    documented: [{ at: / grow /, way: "lost", outcome: "to be repeated", because: "as with a mirror" }, SEES_IT_LATER],
  },
  {
    name: "replace on the primary",
    given: running("drbd"),
    run: replacement("replace_on_primary"),
    documented: [...CLEARING_AWAY, ...refilling(/node1 mirrorStatus$|node2 mirrorStatus #2/, /node1 mirrorStatus #2/)],
  },
  {
    name: "replace on the secondary",
    given: running("drbd"),
    run: replacement("replace_on_secondary"),
    documented: [...CLEARING_AWAY, ...refilling(/node1 mirrorStatus #2|node2 mirrorStatus$/, /node1 mirrorStatus #3/)],
  },
  {
    name: "replace on the secondary while it is down",
    given: stopped("drbd"),
    run: replacement("replace_on_secondary"),
    documented: [
      ...CLEARING_AWAY,
      ...refilling(/mirrorStatus$/, /node1 mirrorStatus #2/),
      { at: /standBy/, way: "lost", outcome: "done", because: "the end is up, and is given new volumes" },
      ...lettingGo(),
    ],
  },
  {
    name: "replace with another secondary",
    given: running("drbd"),
    run: replacement("replace_new_secondary", { remote_node: NODE3 }),
    documented: [
      ...CLEARING_AWAY,
      ...refilling(/node1 mirrorStatus #2|node3 mirrorStatus/, /node1 mirrorStatus #3/),
      GIVING_UP,
    ],
  },
  {
    name: "replace with another secondary while it is down",
    given: stopped("drbd"),
    run: replacement("replace_new_secondary", { remote_node: NODE3 }),
    documented: [
      ...CLEARING_AWAY,
      ...refilling(/mirrorStatus$/, /node1 mirrorStatus #2/),
      GIVING_UP,
      ...lettingGo(/node[13] shutdown/),
    ],
  },
  {
    name: "replace where it is faulty",
    given: running("drbd"),
    prepare: withoutVolumes(NODE2),
    run: replacement("replace_auto"),
    documented: [
      ...refilling(/node1 mirrorStatus #3|node2 mirrorStatus #2/, /node1 mirrorStatus #4/),
      {
        at: /node2 (detachVolumes|status|attachVolumes)/,
        outcome: "to be repeated",
        because: "the undo gives the end its volumes back, and makes those that are lost anew",
      },
    ],
  },
  {
    name: "recreate",
    given: stopped("drbd"),
    prepare: withoutVolumes(NODE1, NODE2),
    run: ["OP_INSTANCE_RECREATE_DISKS", INSTANCE],
    documented: lettingGo(/node2 shutdown/),
  },
  {
    name: "recreate elsewhere",
    given: stopped("drbd"),
    prepare: withoutVolumes(NODE1, NODE2),
    run: ["OP_INSTANCE_RECREATE_DISKS", { ...INSTANCE, nodes: [NODE2, NODE3] }],
    documented: lettingGo(/node3 shutdown/),
  },
  {
    name: "recreate in plain",
    given: stopped("plain"),
    prepare: withoutVolumes(NODE1),
    run: ["OP_INSTANCE_RECREATE_DISKS", INSTANCE],
  },
  {
    name: "add a disk",
    given: stopped("drbd"),
    run: setParams({ disks: [["add", { size: 1024 }]] }),
    documented: lettingGo(),
  },
  {
    name: "add a disk to a running instance",
    given: running("drbd"),
    run: setParams({ disks: [["add", { size: 1024 }]] }),
    documented: TELLING_THE_GUEST,
  },
  {
    name: "add a disk in plain",
    given: stopped("plain"),
    run: setParams({ disks: [["add", { size: 1024 }]] }),
    documented: [{ at: / shutdown /, outcome: "done", because: "the work is done" }],
  },
  {
    name: "remove a disk",
    given: stopped("drbd", TWO_DISKS),
    run: setParams({ disks: [["remove", 1, {}]] }),
    documented: CLEARING_AWAY,
  },
  {
    name: "remove a disk of a running instance",
    given: running("drbd", TWO_DISKS),
    run: setParams({ disks: [["remove", 1, {}]] }),
    documented: CLEARING_AWAY,
  },
  {
    name: "detach a disk of a running instance",
    given: running("plain", TWO_DISKS),
    run: setParams({ disks: [["detach", 1, {}]] }),
    documented: lettingGo(),
  },
  {
    name: "attach a disk to a running instance",
    given: [...running("plain", TWO_DISKS), setParams({ disks: [["detach", 1, {}]] })],
    run: setParams({ disks: [["attach", { name: "data" }]] }),
    documented: TELLING_THE_GUEST,
  },
  {
    name: "plain to drbd",
    given: stopped("plain"),
    run: setParams({ disk_template: "drbd", remote_node: NODE2 }),
    documented: CONVERTED,
  },
  {
    name: "drbd to plain",
    given: stopped("drbd"),
    run: setParams({ disk_template: "plain" }),
    documented: CLEARING_AWAY,
  },
  {
    name: "plain to file",
    given: stopped("plain"),
    run: setParams({ disk_template: "file" }),
    documented: [...oldDisks("plain"), ...lettingGo(/ shutdown file/)],
  },
  {
    name: "file to drbd",
    given: stopped("file"),
    run: setParams({ disk_template: "drbd", remote_node: NODE2 }),
    documented: [...oldDisks("file"), ...CONVERTED],
  },
];

test.each(SCENARIOS)("$name", async (scenario) => {
  expect(await failEachStep(bed, scenario)).toEqual([]);
});
