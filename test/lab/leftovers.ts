/** What must not be on a node once no instance is there: volumes, DRBD devices, guests, taps, files. */
import { eventually } from "../e2e/conditions.ts";
import type { Lab, NodeInLab } from "./lab.ts";

/** Prints a line for each thing that belongs to an instance. */
const LOOK = `
lvs --noheadings -o vg_name,lv_name | sed 's/^ */volume /'
sed -n 's/^ *\\([0-9]*\\): cs:/drbd minor \\1 /p' /proc/drbd | grep -v Unconfigured
dmsetup ls --noheadings 2>/dev/null | grep -v 'No devices' | sed 's/^/device /'
pgrep -a qemu-system | sed 's/^/guest /'
if [ -e /proc/xen/capabilities ]; then xl list | tail -n +3 | sed 's/^/domain /'; fi
ls /sys/class/net | grep -v -e '^lo$' -e '^eth0$' -e '^br0$' | sed 's/^/interface /'
find /srv/ganeti/file-storage /srv/ganeti/shared-file-storage /srv/ganeti/export -mindepth 1 | sed 's/^/file /'
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
rm -rf /srv/ganeti/*/*
true`;

/** After a scenario that failed, so that the next one has a chance. */
export async function clearNode(node: NodeInLab): Promise<void> {
  await node.machine.run(CLEAR);
}

async function leftovers(node: NodeInLab): Promise<string> {
  return (await node.machine.run(LOOK)).trim();
}
