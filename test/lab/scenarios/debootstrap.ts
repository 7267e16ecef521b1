/** Debian's OS definition "debootstrap", unchanged, and as it is without settings: it puts a partition on the disk. */

import type { NodeInLab } from "../lab.ts";
import { LabInstance } from "../lab-instance.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual } from "./pairs.ts";

const OS = "debootstrap+default";
/** Less is refused by its scripts. */
const SIZE_MIB = 512;
const CACHE = "/var/cache/ganeti-instance-debootstrap";
const SETTINGS = "/etc/default/ganeti-instance-debootstrap";

/** What the scripts install is taken from their cache: with all of a Debian it would come over the network. */
const PREPARE = `mkdir -p ${CACHE} /run/tiny && cd /run/tiny
mkdir -p bin etc/network root
cp /bin/busybox bin/ && ln -s busybox bin/passwd
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:*:20000:0:99999:7:::' >etc/shadow
tar -cf ${CACHE}/cache-tiny-$(dpkg --print-architecture).tar .
cd / && rm -r /run/tiny
# Of every real node; the scripts copy them.
touch /etc/hosts /etc/resolv.conf
cp ${SETTINGS} /run/settings && echo 'SUITE="tiny"' >>${SETTINGS}`;
const CLEAR = `rm -r ${CACHE} && mv /run/settings ${SETTINGS}`;

/** The name that the system on a disk's first partition has, and whether its table of file systems names that. */
async function systemOn({ machine }: NodeInLab, device: string): Promise<string> {
  const told = await machine.run(`set -e
kpartx -a -s -p - ${device}
partition=/dev/mapper/$(kpartx -l -p - ${device} | head -n 1 | cut -d ' ' -f 1)
mount -o ro $partition /mnt
cat /mnt/etc/hostname
if grep -q "^UUID=$(blkid -o value -s UUID $partition) " /mnt/etc/fstab; then echo 'mounts itself'; fi
umount /mnt
kpartx -d -p - ${device} >/dev/null`);
  return told.trim().replace("\n", ", ");
}

export const DEBOOTSTRAP: Scenario = {
  name: "Debian's debootstrap partitions a disk, exports, imports and renames what is on it",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) throw new Error("there is no node");
    await node.machine.run(PREPARE);
    const request = { template: "plain", primary: node, sizeMib: SIZE_MIB } as const;
    const instance = await step("create", () =>
      LabInstance.create(lab, { ...request, name: "os1.gannet.test", body: { os_type: OS, start: false } }),
    );
    const system = async (of: LabInstance) => systemOn(node, await of.device(node));
    expectEqual("the system", await system(instance), "os1.gannet.test, mounts itself");
    await step("export", () =>
      instance.change("PUT", "/export", { mode: "local", destination: node.name, shutdown: true }),
    );
    const copy = await step("import under another name", () =>
      LabInstance.create(lab, {
        ...request,
        name: "os2.gannet.test",
        body: {
          ...{ os_type: OS, start: false, mode: "import" },
          ...{ src_node: node.name, src_path: "/srv/ganeti/export/os1.gannet.test" },
        },
      }),
    );
    expectEqual("the system", await system(copy), "os2.gannet.test, mounts itself");
    await step("remove both, and the export", async () => {
      await instance.remove();
      await copy.remove();
      await lab.rapi.job("DELETE", "/2/instances/os1.gannet.test/export");
      await node.machine.run(`rm -rf /srv/ganeti/export/* && ${CLEAR}`);
    });
  },
};
