/** Operations on existing instances and their guests, each step failing once. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, startLogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import { type ClusterImage, imageOf, restore } from "./cluster-image.ts";
import { type Documented, failEachStep, type Scenario } from "./failing-steps.ts";
import {
  CLEARING_AWAY,
  COPYING,
  INSTANCE,
  lettingGo,
  NODE2,
  NODE3,
  running,
  stopped,
  TELLING_THE_GUEST,
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
const reboot = (reboot_type: string): Scenario["run"] => ["OP_INSTANCE_REBOOT", { ...INSTANCE, reboot_type }];
const renaming: Scenario["run"] = [
  "OP_INSTANCE_RENAME",
  { ...INSTANCE, new_name: "web9.gnt.test", name_check: false, ip_check: false },
];
const NOTED: Documented = {
  at: /setInfo/,
  outcome: "done",
  because: "what the storage notes of the instance's name is for people, and it is told that it could not",
};
const exported = (more: object): Scenario["run"] => ["OP_BACKUP_EXPORT", { ...INSTANCE, target_node: NODE3, ...more }];

const _STOPPED: Documented = {
  at: /instances.stop/,
  way: "lost",
  outcome: "to be repeated",
  because: "whether it runs is not known; it is recorded as meant to run until a shutdown has seen its end",
};

const STOPPED: Documented = {
  at: /instances.stop/,
  way: "lost",
  outcome: "to be repeated",
  because: "whether it runs is not known; it is recorded as meant to run until a shutdown has seen its end",
};

const _FAILING_OVER: readonly Documented[] = [];
const _MOVING: readonly Documented[] = [];
const _ARRIVALS: readonly Documented[] = [];
/** @param last - what follows once the guest runs on the target */
function arriving(last: RegExp): readonly Documented[] {
  const because = "the guest has arrived, and is kept where it runs: the target is its primary node";
  return [
    { at: /finishMigrationTarget/, way: "lost", outcome: "done, told as failed", because },
    { at: last, outcome: "done, told as failed", because },
  ];
}

const SECOND_COPY: Documented = {
  at: /node2 shutdown/,
  outcome: "done",
  because: "a second copy that stays up is used again",
};

const MOVING: readonly Documented[] = [
  ...COPYING,
  ...CLEARING_AWAY,
  { at: /node1 shutdown/, outcome: "done, left behind", because: "what may be in use is not destroyed" },
];

/** An export that is whole, and a job that has not seen it. */
const EXPORTING: readonly Documented[] = [
  ...COPYING,
  {
    at: /finalizeExport/,
    way: "lost",
    outcome: "as before, left behind",
    because: "a whole export is not thrown away; the next one takes its place",
  },
  { at: /listExports/, outcome: "done", because: "an older export on another node is told of and left there" },
];

const SNAPSHOT: Documented = {
  at: / snapshot /,
  way: "lost",
  outcome: "as before, left behind",
  because: "the name of the snapshot is in the answer; the next one of the disk takes its place",
};

const SCENARIOS: readonly Scenario[] = [
  { name: "startup", given: stopped("drbd"), run: ["OP_INSTANCE_STARTUP", INSTANCE] },
  {
    name: "startup of one that its user had shut down",
    given: [...running("plain"), ["OP_INSTANCE_SHUTDOWN", { ...INSTANCE, admin_state_source: "user" }]],
    run: ["OP_INSTANCE_STARTUP", INSTANCE],
  },
  {
    name: "shutdown",
    given: running("drbd"),
    run: ["OP_INSTANCE_SHUTDOWN", INSTANCE],
    documented: [
      STOPPED,
      {
        at: /node1 shutdown/,
        outcome: "done, told as failed",
        because: "the guest is down and recorded as that; its disks are recorded as active until they are not",
      },
      ...lettingGo(),
    ],
  },
  { name: "soft reboot", given: running("drbd"), run: reboot("soft") },
  { name: "hard reboot", given: running("drbd"), run: reboot("hard") },
  {
    name: "full reboot",
    given: running("drbd"),
    run: reboot("full"),
    documented: [SECOND_COPY],
  },
  {
    name: "migrate",
    given: running("drbd"),
    run: ["OP_INSTANCE_MIGRATE", INSTANCE],
    documented: arriving(
      /finishMigrationSource|node2 instances.state|node1 standBy|connect drbd.0 #2|node2 mirrorStatus #2/,
    ),
  },
  {
    name: "migrate of shared disks",
    given: running("ext"),
    run: ["OP_INSTANCE_MIGRATE", { ...INSTANCE, target_node: NODE2 }],
    documented: arriving(/finishMigrationSource|node2 instances.state|node1 shutdown/),
  },
  {
    name: "failover",
    given: running("drbd"),
    run: ["OP_INSTANCE_FAILOVER", INSTANCE],
    documented: [
      SECOND_COPY,
      {
        at: /node1 standBy/,
        way: "refused",
        outcome: "done, left behind",
        because: "the copy on the node that is left may be lost; an activation of the disks makes it whole",
      },
      { at: /node1 standBy/, way: "lost", outcome: "done", because: "the copy is there" },
    ],
  },
  {
    name: "failover of one that is down",
    given: stopped("drbd"),
    run: ["OP_INSTANCE_FAILOVER", INSTANCE],
    documented: [SECOND_COPY],
  },
  {
    name: "failover of shared disks",
    given: running("sharedfile"),
    run: ["OP_INSTANCE_FAILOVER", { ...INSTANCE, target_node: NODE2 }],
  },
  {
    name: "move",
    given: running("plain"),
    run: ["OP_INSTANCE_MOVE", { ...INSTANCE, target_node: NODE2 }],
    documented: [
      ...MOVING,
      {
        at: /instances.start/,
        outcome: "done, told as failed",
        because: "the instance is on the target with its data; only its start is to be asked for again",
      },
    ],
  },
  {
    name: "move of one that is down",
    given: stopped("file"),
    run: ["OP_INSTANCE_MOVE", { ...INSTANCE, target_node: NODE2 }],
    documented: [...MOVING, ...lettingGo(/node2 shutdown/)],
  },
  {
    name: "export",
    given: running("drbd"),
    run: exported({ shutdown: true }),
    documented: [...EXPORTING, SNAPSHOT, ...CLEARING_AWAY],
  },
  {
    name: "export without a snapshot",
    given: running("file"),
    run: exported({ shutdown: true, long_sleep: true }),
    documented: [
      ...EXPORTING,
      {
        at: /instances.start/,
        outcome: "as before, left behind",
        because: "the export is whole; the guest is started by the undo",
      },
    ],
  },
  {
    name: "export of one that is down",
    given: stopped("plain"),
    run: exported({ shutdown: false }),
    documented: [...EXPORTING, SNAPSHOT, ...CLEARING_AWAY, ...lettingGo()],
  },
  {
    name: "export and remove",
    given: running("plain"),
    run: exported({ shutdown: true, remove_instance: true }),
    documented: [
      ...EXPORTING,
      SNAPSHOT,
      {
        at: / remove plain.0 #2/,
        outcome: "half-way",
        because: "the export is whole, and the instance is what a removal that failed leaves: remove it",
      },
      ...CLEARING_AWAY,
    ],
  },
  {
    name: "remove of exports",
    given: [...running("plain"), exported({ shutdown: true })],
    run: ["OP_BACKUP_REMOVE", INSTANCE],
    documented: [
      { at: /node[12] .*listExports/, outcome: "done", because: "what one node has does not concern the others" },
      {
        at: /removeExport/,
        way: "refused",
        outcome: "done, left behind",
        because: "what one node cannot remove does not keep the others from it",
      },
      { at: /removeExport/, way: "lost", outcome: "done", because: "it is removed" },
    ],
  },
  {
    name: "rename",
    given: stopped("file"),
    run: renaming,
    documented: [NOTED],
  },
  {
    name: "rename in drbd",
    given: stopped("drbd"),
    run: renaming,
    documented: [NOTED, ...lettingGo(/node2 shutdown/)],
  },
  {
    name: "reinstall",
    given: stopped("drbd"),
    run: ["OP_INSTANCE_REINSTALL", { ...INSTANCE, os_type: "debian+trixie" }],
    documented: lettingGo(),
  },
  {
    name: "run-time memory",
    given: running("plain", { beparams: { minmem: 128, maxmem: 512 } }),
    run: setParams({ runtime_mem: 256 }),
  },
  {
    name: "NICs of a running guest",
    given: running("plain", { nics: [{}, {}] }),
    run: setParams({
      beparams: { vcpus: 2 },
      nics: [
        ["remove", 1, {}],
        ["add", -1, {}],
      ],
    }),
    documented: [
      ...TELLING_THE_GUEST,
      {
        at: /instances.state/,
        outcome: "done, left behind",
        because: "a guest of which nothing is known has the devices from its next start on",
      },
    ],
  },
];

test.each(SCENARIOS)("$name", async (scenario) => {
  expect(await failEachStep(bed, scenario)).toEqual([]);
});
