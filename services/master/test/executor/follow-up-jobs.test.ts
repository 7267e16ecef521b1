/** What jobs inherit of the opcode that submits them, and which are not submitted. */
import type { Job } from "@gannet/job-ledger";
import { InstanceStartup, TestDelay } from "@gannet/opcodes";
import { expect, test } from "vitest";
import { followUpsOf, submitting } from "../../src/executor/follow-up-jobs.ts";
import { implement, type LogicalUnit } from "../../src/executor/logical-unit.ts";

const UNITS = new Map([
  [
    TestDelay.id,
    implement(TestDelay, {
      unavailable: (op) => (op.on_nodes.length > 0 ? "nodes" : undefined),
      locks: () => [],
      checkPrereq: () => undefined,
      exec: async () => null,
    }) as unknown as LogicalUnit,
  ],
]);

const input = {
  OP_ID: "OP_NODE_EVACUATE",
  priority: -10,
  debug_level: 3,
  reason: [["gnt:user", "disk swap", 1]],
};
const parent = {
  index: 0,
  job: { id: 7, requester: "carol", receivedTimestamp: [5, 6], opcodes: [{ input }] } as unknown as Job,
};
const DELAY = { OP_ID: TestDelay.id, duration: 1 };

test("a job is submitted for the same requester, with priority, comment and reason of its parent", () => {
  const { jobs, other } = followUpsOf(submitting([[DELAY]], { failed: ["a"] }), parent, UNITS);
  expect(other).toEqual({ failed: ["a"] });
  expect(jobs).toEqual([
    {
      requester: "carol",
      opcodes: [
        {
          summary: "TEST_DELAY(1)",
          input: expect.objectContaining({
            ...DELAY,
            priority: -10,
            debug_level: 3,
            comment: "Submitted by OP_NODE_EVACUATE",
            reason: [
              ["gnt:user", "disk swap", 1],
              ["gnt:opcode:node_evacuate", "job=7;index=0", 5_000_006_000],
            ],
          }),
        },
      ],
    },
  ]);
});

test("what the job says itself goes before what it inherits", () => {
  const own = { ...DELAY, priority: 10, comment: "mine", reason: [["gnt:user", "own", 2]] };
  const { jobs } = followUpsOf(submitting([[own]]), parent, UNITS);
  expect(jobs).toMatchObject([
    {
      opcodes: [
        {
          input: {
            priority: 10,
            comment: "mine",
            reason: [
              ["gnt:user", "own", 2],
              ["gnt:user", "disk swap", 1],
              ["gnt:opcode:node_evacuate", "job=7;index=0", expect.any(Number)],
            ],
          },
        },
      ],
    },
  ]);
});

test("a job that is not valid, or that nothing performs, is told of in its place", () => {
  const wrong = [
    { OP_ID: "OP_NOSUCH" },
    { ...DELAY, nosuch: 1 },
    { OP_ID: InstanceStartup.id, instance_name: "web1.gnt.test" },
    { ...DELAY, on_nodes: ["node1.gnt.test"] },
  ];
  const { jobs } = followUpsOf(submitting([...wrong.map((opcode) => [opcode]), [DELAY]]), parent, UNITS);
  expect(jobs.map((job) => ("refused" in job ? job.refused : "submitted"))).toEqual([
    expect.stringContaining("unknown opcode"),
    expect.stringContaining("nosuch"),
    "OP_INSTANCE_STARTUP is not available",
    "OP_TEST_DELAY with nodes is not available",
    "submitted",
  ]);
});
