/** Disks on logical volumes of one node. */
import { eventually } from "../../e2e/conditions.ts";
import { LabInstance } from "../lab-instance.ts";
import { VOLUME_GROUP } from "../plan.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual, twoNodes } from "./pairs.ts";

const LIFE: Scenario = {
  name: "plain: create, grow, export by snapshot, import elsewhere, remove",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await twoNodes(lab);
    const instance = await step("create and start", () =>
      LabInstance.create(lab, { name: "plain1.gannet.test", template: "plain", primary: first }),
    );
    const before = await step("the guest counts", () => instance.counts());
    await step("grow by 32 MiB", () => instance.change("POST", "/disk/0/grow", { amount: 32 }));
    await step("its volume has the new size", async () => {
      const size = await first.machine.run(`blockdev --getsize64 ${await instance.device(first)}`);
      expectEqual("bytes", Number(size), 96 * 1024 * 1024);
    });
    await step("the guest has not noticed", () => instance.counts(before));
    await step("export to the other node while it runs", () =>
      instance.change("PUT", "/export", { mode: "local", destination: second.name, shutdown: false }),
    );
    await step("the guest has not noticed, and the snapshot is gone", async () => {
      await instance.counts(before);
      expectEqual("volumes", await first.machine.run("lvs --noheadings | wc -l"), "1\n");
    });
    const copy = await step("import it there under another name", () =>
      LabInstance.create(lab, {
        name: "plain2.gannet.test",
        template: "plain",
        primary: second,
        sizeMib: 96,
        body: {
          mode: "import",
          src_node: second.name,
          src_path: "/srv/ganeti/export/plain1.gannet.test",
        },
      }),
    );
    await step("the copy has the data of the moment", () => copy.countsAfterBoot(2));
    await step("remove both, and the export", async () => {
      await instance.remove();
      await copy.remove();
      await lab.rapi.job("DELETE", "/2/instances/plain1.gannet.test/export");
      await second.machine.run("rm -rf /srv/ganeti/export/*");
    });
  },
};

const ADOPTION: Scenario = {
  name: "plain: adopt an existing volume",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    await step("make a volume with a guest on it by hand", () =>
      node.machine.run(`lvcreate -q -y -Wn -L 64M -n legacy ${VOLUME_GROUP}
        dd if=/lab/node/counter.img of=/dev/${VOLUME_GROUP}/legacy bs=512 oflag=direct status=none`),
    );
    const instance = await step("create an instance that adopts it", () =>
      LabInstance.create(lab, {
        name: "plain3.gannet.test",
        template: "plain",
        primary: node,
        body: { disks: [{ adopt: "legacy", vg: VOLUME_GROUP }] },
      }),
    );
    await step("the guest counts", () => instance.counts());
    await step("remove", () => instance.remove());
    expectEqual("volumes", await node.machine.run("lvs --noheadings | wc -l"), "0\n");
  },
};

const LOST_VOLUME: Scenario = {
  name: "plain: repair a volume group that lost a physical volume",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    const [, lost] = node?.machine.kind.physicalVolumes ?? [];
    if (node === undefined || lost === undefined) return;
    const missing = () => node.machine.run(`vgs --noheadings -o vg_missing_pv_count ${VOLUME_GROUP} 2>/dev/null`);
    await step("pull a disk out", () =>
      node.machine.run(`echo 1 >$(readlink -f /sys/block/${lost.slice("/dev/".length)}/device/..)/remove`),
    );
    expectEqual("missing volumes", (await missing()).trim(), "1");
    await step("repair", () =>
      lab.rapi.succeed("PUT", `/2/nodes/${node.name}/storage/repair?storage_type=lvm-vg&name=${VOLUME_GROUP}`),
    );
    expectEqual("missing volumes", (await missing()).trim(), "0");
    await step("put it in again", async () => {
      await node.machine.run("echo 1 >/sys/bus/pci/rescan");
      await eventually("the disk is back", async () => (await node.machine.command(`test -e ${lost}`)).exitCode === 0);
      await node.machine.run(`pvcreate -q -ff -y ${lost} && vgextend -q ${VOLUME_GROUP} ${lost}`);
    });
  },
};

export const PLAIN_SCENARIOS: readonly Scenario[] = [LIFE, ADOPTION, LOST_VOLUME];
