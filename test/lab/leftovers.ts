/** What must not be on a node once no instance is there: volumes, devices, guests, interfaces, files, mounts, rules. */
import { eventually } from "../e2e/conditions.ts";
import type { Lab, NodeInLab } from "./lab.ts";

/** Mounts below the folders of instances; those of the node itself are not. */
const MOUNTS = "findmnt -rno TARGET | grep -E '^/(srv/ganeti|var/lib/gannet|mnt)/.' | grep -vx /mnt/kept";
/** Preferences of routing rules that are not the kernel's own. */
const RULES = "ip rule | sed 's/:.*//' | grep -vx -e 0 -e 32766 -e 32767";

/** Prints a line for each thing that belongs to an instance. */
const LOOK = `
lvs --noheadings -o vg_name,lv_name | sed 's/^ */volume /'
sed -n 's/^ *\\([0-9]*\\): cs:/drbd minor \\1 /p' /proc/drbd | grep -v Unconfigured
dmsetup ls --noheadings 2>/dev/null | grep -v 'No devices' | sed 's/^/device /'
pgrep -a qemu-system | sed 's/^/guest /'
if [ -e /proc/xen/capabilities ]; then xl list | tail -n +3 | sed 's/^/domain /'; fi
ls /sys/class/net | grep -v -e '^lo$' -e '^eth0$' -e '^br0$' | sed 's/^/interface /'
find /srv/ganeti/file-storage /srv/ganeti/shared-file-storage /srv/ganeti/export -mindepth 1 | sed 's/^/file /'
losetup --noheadings --list --output NAME,BACK-FILE | sed 's/^/loop device /'
${MOUNTS} | sed 's/^/mount /'
${RULES} | sed 's/^/routing rule /'
true`;

/** A guest's processes and interfaces may take a moment to go. @throws Error naming what is left */
export async function assertNothingLeft(lab: Lab, count: number): Promise<void> {
  for (const node of lab.nodes.slice(0, count)) {
    let left = "";
    await eventually(`nothing is left on ${node.name}`, async () => {
      left = await leftovers(node);
      return left === "";
    }).catch(() => {
      throw new Error(`on ${node.name} is left: ${left}`);
    });
  }
}

/** Takes away by hand what {@link LOOK} finds. */
const CLEAR = `
pkill -KILL qemu-system
if [ -e /proc/xen/capabilities ]; then
  xl list | tail -n +3 | while read -r name rest; do xl destroy "$name"; done
fi
for minor in $(sed -n 's/^ *\\([0-9]*\\): cs:.*/\\1/p' /proc/drbd); do
  drbdsetup secondary $minor --force
  drbdsetup detach $minor --force
  drbdsetup down resource$minor
done
lvs --noheadings -o vg_name,lv_name | while read -r group volume; do lvremove -q -f $group/$volume; done
for device in /sys/class/net/*; do
  case \${device##*/} in lo | eth0 | br0) ;; *) ip link delete \${device##*/} ;; esac
done
${RULES} | while read -r preference; do ip rule delete pref $preference; done
${MOUNTS} | sort -r | while read -r folder; do umount --lazy "$folder"; done
losetup --detach-all
rm -rf /srv/ganeti/*/*
true`;

/** After a scenario that failed, so that the next one has a chance. */
export async function clearNode(node: NodeInLab): Promise<void> {
  await node.machine.run(CLEAR);
}

async function leftovers(node: NodeInLab): Promise<string> {
  return (await node.machine.run(LOOK)).trim();
}
