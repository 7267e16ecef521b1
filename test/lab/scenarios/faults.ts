/** Agents and nodes that die in the middle of an operation: no orphan, and a state that is reported true. */
import { eventually } from "../../e2e/conditions.ts";
import type { FinishedJob } from "../../rapi-client.ts";
import type { Lab, NodeInLab } from "../lab.ts";
import { LabInstance } from "../lab-instance.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual, inSync, mirroredInstance, twoNodes } from "./pairs.ts";

/** Kill the agent the moment a script on its node succeeds; at its end there is a new one. */
async function killAgentWhen(node: NodeInLab, condition: string): Promise<void> {
  await node.machine.run(`until ${condition}; do sleep 0.01; done\nkill -KILL $(cat /run/lab/agent.pid)`);
  await node.agent.start();
}

async function submit(lab: Lab, method: string, resource: string, body: unknown): Promise<number> {
  const { status, body: id } = await lab.rapi.rapi(method, resource, { body });
  if (status !== 200) throw new Error(`${method} ${resource}: ${status} ${JSON.stringify(id)}`);
  return id as number;
}

/** What is there after a creation that may have failed goes; a failed one has left nothing to go. */
async function removeIfThere(lab: Lab, name: string, { status }: FinishedJob): Promise<void> {
  const row = await lab.rapi.rapi("GET", `/2/instances/${name}`);
  expectEqual(`${name} after a creation that ended as ${status}`, row.status, status === "success" ? 200 : 404);
  if (row.status === 200) await lab.rapi.succeed("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 });
}

const KILLED_IN_CREATION: Scenario = {
  name: "agent killed during lvcreate",
  nodes: 1,
  kills: true,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const name = "fault1.gannet.test";
    const kill = killAgentWhen(node, "pgrep -x lvcreate >/dev/null");
    const job = await step("create, and kill the agent meanwhile", () =>
      LabInstance.request(lab, { name, template: "plain", primary: node }),
    );
    await step("the agent is back", () => kill);
    const ended = await step("the job ends", () => lab.rapi.finished(job));
    await step("the configuration agrees with its end", () => removeIfThere(lab, name, ended));
  },
};

const KILLED_IN_SYNC: Scenario = {
  name: "agent killed during the first synchronisation",
  nodes: 2,
  async run(lab, step) {
    // The first is the cluster's master node, on which jobs of other scenarios run hooks.
    const [secondary, primary] = await twoNodes(lab);
    const name = "fault2.gannet.test";
    const kill = killAgentWhen(primary, "grep -q SyncSource /proc/drbd");
    const job = await step("create, and kill the primary's agent meanwhile", () =>
      LabInstance.request(lab, { name, template: "drbd", primary, secondary, sizeMib: 256 }),
    );
    await step("the agent is back", () => kill);
    const ended = await step("the job ends", () => lab.rapi.finished(job));
    await step("the configuration agrees with its end", () => removeIfThere(lab, name, ended));
  },
};

const KILLED_IN_MIGRATION: Scenario = {
  name: "agent killed during a migration",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await twoNodes(lab);
    const instance = await step("create", () => mirroredInstance(lab, "fault3.gannet.test"));
    const before = await step("the guest counts", () => instance.counts());
    const kill = killAgentWhen(second, "pgrep -f -- -incoming >/dev/null");
    const job = await step("live-migrate, and kill the target's agent meanwhile", () =>
      submit(lab, "PUT", `${instance.resource}/migrate`, { mode: "live" }),
    );
    await step("the agent is back", () => kill);
    const { status } = await step("the job ends", () => lab.rapi.finished(job));
    if (status !== "success")
      await step("clean up after the migration", () => instance.change("PUT", "/migrate", { cleanup: true }));
    await step("the guest runs where the configuration says, unbroken", () => instance.counts(before));
    await step("and nowhere else", async () => {
      const primary = await instance.primary();
      const other = primary === first ? second : first;
      expectEqual(`guests on ${other.name}`, await other.machine.run("pgrep -c qemu-system || true"), "0\n");
      await inSync(instance, primary);
    });
    await step("remove", () => instance.remove());
  },
};

const NODE_KILLED: Scenario = {
  name: "node killed with a guest, and back",
  nodes: 1,
  kills: true,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const instance = await step("create", () =>
      LabInstance.create(lab, { name: "fault4.gannet.test", template: "plain", primary: node }),
    );
    await step("the guest counts", () => instance.counts());
    await step("cut the node's power", () => node.machine.powerOff());
    await step("the instance's state becomes unknown", () =>
      eventually("its node is known to be away", async () => (await instance.row()).status === "ERROR_nodedown"),
    );
    await step("the node is back", () => lab.powerOnAgain(node));
    await step("the instance is reported down", () =>
      eventually("it is known to be down", async () => (await instance.row()).status === "ERROR_down"),
    );
    await step("start", () => instance.start());
    await step("its data are there", () => instance.countsAfterBoot(2));
    await step("remove", () => instance.remove());
  },
};

export const FAULT_SCENARIOS: readonly Scenario[] = [
  KILLED_IN_CREATION,
  KILLED_IN_SYNC,
  KILLED_IN_MIGRATION,
  NODE_KILLED,
];
