/** Disks on two nodes when a node, or the network between them, fails. */
import { eventually } from "../../e2e/conditions.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual, inSync, mirroredInstance, mirrorLine, twoNodes } from "./pairs.ts";

/** Ganeti's number of it (`BlockDevStatus`). */
const LOCAL_DISK_FAULTY = 4;

const NODE_LOST: Scenario = {
  name: "drbd: a node is lost as secondary and as primary, and comes back each time",
  nodes: 2,
  async run(lab, step) {
    // It is always the second one: the first is the cluster's master node, on which jobs of other scenarios run hooks.
    const [first, second] = await twoNodes(lab);
    const instance = await step("create", () => mirroredInstance(lab, "drbd4.gannet.test"));
    const before = await step("the guest counts", () => instance.counts());
    await step("both ends are in sync", () => inSync(instance, first));
    await step("cut the power of the secondary node", () => second.machine.powerOff());
    const alone = await step("the guest goes on", () => instance.counts(before));
    await step("the secondary is back", () => lab.powerOnAgain(second));
    await step("activate its disks", () => instance.change("PUT", "/activate-disks"));
    await step("what was written meanwhile is synchronised", () => inSync(instance, first));
    await step("the guest has not noticed", () => instance.counts(alone));
    await step("live-migrate to it", () => instance.migrate());
    await step("its count goes on", () => instance.counts(alone));

    await step("cut the power of the primary node", () => second.machine.powerOff());
    await step("failover", () => instance.change("PUT", "/failover", { ignore_consistency: true }));
    expectEqual("primary node", (await instance.primary()).name, first.name);
    await step("it runs on the other node with the data written before", () => instance.countsAfterBoot(2));
    await step("the lost node is back", () => lab.powerOnAgain(second));
    await step("activate its disks", () => instance.change("PUT", "/activate-disks"));
    await step("both ends are in sync", () => inSync(instance, first));
    await step("remove", () => instance.remove());
  },
};

const SPLIT_BRAIN: Scenario = {
  name: "drbd: a split brain is reported",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await twoNodes(lab);
    const instance = await step("create", () => mirroredInstance(lab, "drbd5.gannet.test"));
    await step("the guest counts", () => instance.counts());
    await step("both ends are in sync", () => inSync(instance, first));
    await step("part them, and write to both", async () => {
      const device = await instance.device(second);
      const minor = device.replace("/dev/drbd", "");
      const link = `ipv4:${second.plan.ip}:$port ipv4:${first.plan.ip}:$port`;
      const port = (await instance.disk()).drbd_info?.port;
      await second.machine.run(`port=${port}
        drbdsetup disconnect ${link} --force
        drbdsetup primary ${minor} --force
        dd if=/dev/urandom of=${device} bs=4k count=1 seek=100 oflag=direct status=none
        drbdsetup secondary ${minor}`);
      await instance.counts();
    });
    await step("they find that they differ, and stay apart", async () => {
      await lab.rapi.job("PUT", `${instance.resource}/activate-disks`);
      await eventually("both ends stand alone", async () => {
        const lines = [await mirrorLine(instance, first), await mirrorLine(instance, second)];
        return lines.every((line) => /cs:(StandAlone|WFConnection)/.test(line));
      });
    });
    await step("the cluster tells that the disk is degraded and its copy faulty", async () => {
      const { pstatus, sstatus } = await instance.disk(0, { asked: "nodes" });
      expectEqual("degraded", pstatus?.[5], true);
      // The end that found it out stands alone; the other may go on waiting for it.
      expectEqual("an end is faulty", [pstatus?.[6], sstatus?.[6]].includes(LOCAL_DISK_FAULTY), true);
    });
    await step("a job that activates the disks says so", async () => {
      const { oplog } = await lab.rapi.job("PUT", `${instance.resource}/activate-disks`);
      if (!JSON.stringify(oplog).includes("split brain")) throw new Error(`it says: ${JSON.stringify(oplog)}`);
    });
    const seen = await step("the guest goes on", () => instance.counts());
    await step("give the secondary's copy up", () =>
      instance.change("POST", "/replace-disks", { mode: "replace_on_secondary", disks: [0] }),
    );
    await step("both ends are in sync, and the guest has not noticed", async () => {
      await inSync(instance, first);
      await instance.counts(seen);
    });
    await step("remove", () => instance.remove());
  },
};

export const DRBD_TROUBLE_SCENARIOS: readonly Scenario[] = [NODE_LOST, SPLIT_BRAIN];
