/** Disks on two nodes: what an operator does with them while all is well. */
import { LabInstance } from "../lab-instance.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual, inSync, mirroredInstance, mirrorLine, twoNodes } from "./pairs.ts";

/** The shortest proof of everything: `make lab LAB=ci` is this alone. */
export const DRBD_ESSENCE: Scenario = {
  name: "drbd: create, live-migrate, remove",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await twoNodes(lab);
    const instance = await step("create with its disks in sync, and start", () =>
      mirroredInstance(lab, "drbd1.gannet.test"),
    );
    const before = await step("the guest counts", () => instance.counts());
    await step("both ends are in sync", () => inSync(instance, second));
    const { downtimeMs } = await step("live-migrate", () => instance.migrate());
    if (downtimeMs === undefined) throw new Error("the job does not tell how long the guest stood still");
    console.log(`            the guest stood still for ${downtimeMs} ms`);
    expectEqual("primary node", (await instance.primary()).name, second.name);
    const after = await step("its count goes on unbroken on the other node", () => instance.counts(before));
    await step("only one end is primary again", async () => {
      expectEqual("role on the target", /ro:(\S+)/.exec(await mirrorLine(instance, second))?.[1], "Primary/Secondary");
      expectEqual("guests on the source", await first.machine.run("pgrep -c qemu-system || true"), "0\n");
    });
    await step("live-migrate back", () => instance.migrate());
    await step("its count goes on", () => instance.counts(after));
    await step("remove", () => instance.remove());
  },
};

const GROW_AND_ACTIVATE: Scenario = {
  name: "drbd: grow while running, deactivate, activate",
  nodes: 2,
  async run(lab, step) {
    const nodes = await twoNodes(lab);
    const instance = await step("create", () => mirroredInstance(lab, "drbd2.gannet.test"));
    const before = await step("the guest counts", () => instance.counts());
    await step("grow by 32 MiB", () => instance.change("POST", "/disk/0/grow", { amount: 32 }));
    await step("both ends have the new size and are in sync", async () => {
      expectEqual("size in the configuration", (await instance.disk()).size, 96);
      for (const node of nodes) {
        const device = await instance.device(node);
        const size = await node.machine.run(`cat /sys/block/${device.slice("/dev/".length)}/size`);
        expectEqual(`sectors on ${node.name}`, Number(size), 96 * 2048);
        await inSync(instance, node);
      }
    });
    await step("the guest has not noticed", () => instance.counts(before));
    await step("stop", () => instance.stop());
    await step("deactivate its disks", () => instance.change("PUT", "/deactivate-disks"));
    await step("no device is left", async () => {
      for (const node of nodes) expectEqual(`device on ${node.name}`, await mirrorLine(instance, node), "");
    });
    await step("activate its disks", () => instance.change("PUT", "/activate-disks"));
    await step("both ends are in sync", () => inSync(instance, nodes[0]));
    await step("start", () => instance.start());
    await step("its second boot counts", () => instance.countsAfterBoot(2));
    await step("remove", () => instance.remove());
  },
};

const CONVERSION: Scenario = {
  name: "plain to drbd and back",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await twoNodes(lab);
    const instance = await step("create a plain one", () =>
      LabInstance.create(lab, { name: "plain5.gannet.test", template: "plain", primary: first }),
    );
    await step("the guest counts", () => instance.counts());
    await step("stop", () => instance.stop());
    await step("convert to drbd", () =>
      instance.change("PUT", "/modify", { disk_template: "drbd", remote_node: second.name }),
    );
    await step("start", () => instance.start());
    await step("the data are there", async () => {
      await instance.countsAfterBoot(2);
      await inSync(instance, first);
    });
    await step("live-migrate", () => instance.migrate());
    await step("stop", () => instance.stop());
    await step("convert to plain", () => instance.change("PUT", "/modify", { disk_template: "plain" }));
    await step("start", () => instance.start());
    await step("the data are there", () => instance.countsAfterBoot(3));
    await step("remove", () => instance.remove());
  },
};

const REPLACE_DISKS: Scenario = {
  name: "drbd: replace disks in all four modes",
  nodes: 3,
  async run(lab, step) {
    const [first, second, third] = await lab.use(3);
    if (first === undefined || second === undefined || third === undefined) return;
    const instance = await step("create", () => mirroredInstance(lab, "drbd3.gannet.test"));
    let seen = await step("the guest counts", () => instance.counts());
    const replace = async (mode: string, more: Readonly<Record<string, unknown>> = {}) => {
      await step(mode.replaceAll("_", " "), () =>
        instance.change("POST", "/replace-disks", { mode, ...more, early_release: false }),
      );
      await step("both ends are in sync, and the guest has not noticed", async () => {
        await inSync(instance, first);
        seen = await instance.counts(seen);
      });
    };
    await replace("replace_on_primary", { disks: [0] });
    await replace("replace_on_secondary", { disks: [0] });
    await step("the secondary's data are taken away", async () => {
      const device = await instance.device(second);
      await second.machine.run(`drbdsetup detach ${device.replace("/dev/drbd", "")} --force`);
    });
    await replace("replace_auto");
    await replace("replace_new_secondary", { remote_node: third.name });
    expectEqual("secondary", String((await instance.row()).snodes), third.name);
    await step("remove", () => instance.remove());
  },
};

export const DRBD_SCENARIOS: readonly Scenario[] = [DRBD_ESSENCE, GROW_AND_ACTIVATE, CONVERSION, REPLACE_DISKS];
