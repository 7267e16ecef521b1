/** Debian's python3-ganeti-rapi, unchanged, gives nodes other roles and lets instances leave them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { hasPythonClient, runClientSteps } from "./client-script.ts";

const [NODE1, NODE2, NODE3] = ["node1.gannet.test", "node2.gannet.test", "node3.gannet.test"];

interface FinishedStep {
  readonly ok: boolean;
  readonly job: {
    readonly summary: readonly string[];
    readonly opresult: readonly unknown[];
    readonly oplog: readonly (readonly unknown[][])[];
  };
}

describe.skipIf(!hasPythonClient())("nodes", () => {
  let cluster: OneMachineCluster;
  let steps: ReadonlyMap<string, unknown>;

  beforeAll(async () => {
    cluster = await OneMachineCluster.start({
      nodes: 3,
      env: { GANNET_STORAGE: "simulated" },
    });
    steps = await runClientSteps(cluster, "node_life.py");
  }, 300_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  const result = (step: string) => (steps.get(step) as FinishedStep).job.opresult[0];
  const log = (step: string) => JSON.stringify((steps.get(step) as FinishedStep).job.oplog);
  const submitted = (step: string) => {
    const { first, others } = steps.get(step) as { first: FinishedStep; others: readonly FinishedStep[] };
    expect(first.job.opresult).toEqual([{ jobs: others.map(() => [true, expect.any(Number)]) }]);
    return others.map(({ ok, job }) => [ok, job.summary[0], job.opresult[0]]);
  };

  test("have the roles that they are given", () => {
    const roles = ["drained", "offline", "master-candidate", "regular"];
    expect(roles.map((role) => steps.get(`role-${role}`))).toEqual(roles);
    expect(result("set-offline")).toEqual([
      ["drained", "False"],
      ["offline", "True"],
    ]);
    expect(result("forced")).toEqual([["master_candidate", "True"]]);
    expect(log("set-master-candidate")).toContain("comes back from offline");
  });

  test("nobody becomes master this way, and the master stays it", () => {
    expect(steps.get("role-master")).toMatchObject({ code: 400 });
    expect(result("demote-master")).toEqual(["OpPrereqError", [expect.any(String), "wrong_input"]]);
  });

  test("are modified; one with instances stays able to have them", () => {
    expect(result("modify")).toEqual([["ndparams/spindle_count", 4]]);
    expect(steps.get("modified")).toMatchObject({ spindle_count: 4 });
    expect(steps.get("modify-unknown")).toMatchObject({ code: 400 });
    expect(result("not-capable")).toEqual(["OpPrereqError", [expect.stringContaining("web1"), "wrong_state"]]);
  });

  test("instances that run are migrated off a node, and in a dry run are not", () => {
    expect(steps.get("at-first")).toEqual([NODE1, [NODE2], "running"]);
    expect(steps.get("after-dry-run")).toEqual(steps.get("at-first"));
    expect(submitted("migrate")).toEqual([[true, "INSTANCE_MIGRATE(web1.gannet.test)", null]]);
    expect(steps.get("migrated")).toEqual([NODE2, [NODE1], "running"]);
  });

  test("a node is evacuated of first and of second copies, to a node or where there is room", () => {
    expect(submitted("evacuate-primary")).toEqual([[true, "INSTANCE_MIGRATE(web1.gannet.test)", null]]);
    expect(steps.get("primary-evacuated")).toEqual([NODE1, [NODE2], "running"]);
    expect(submitted("evacuate-secondary")).toEqual([[true, "INSTANCE_REPLACE_DISKS(web1.gannet.test)", null]]);
    expect(steps.get("secondary-evacuated")).toEqual([NODE1, [NODE3], "running"]);
    expect(submitted("evacuate-all")).toEqual([[true, "INSTANCE_REPLACE_DISKS(web1.gannet.test)", null]]);
    expect(steps.get("all-evacuated")).toEqual([NODE1, [NODE2], "running"]);
    expect(submitted("evacuate-empty")).toEqual([]);
    expect(steps.get("evacuate-unknown")).toMatchObject({ code: 400 });
  });

  test("the machine that all share is not restarted", () => {
    expect(result("powercycle-master")).toEqual(["OpPrereqError", [expect.stringContaining("force"), "wrong_input"]]);
    expect(result("powercycle")).toEqual([
      "OpPrereqError",
      [expect.stringContaining("does not restart its machine"), "wrong_state"],
    ]);
  });
});
