/** A Debian that the OS definition "image" installs, up to the end of cloud-init. */
import { copyFile, mkdir } from "node:fs/promises";
import path from "node:path";
import { eventually } from "../../e2e/conditions.ts";
import { CLOUD_GUEST_FILES } from "../image/cloud-guest.ts";
import { LabInstance } from "../lab-instance.ts";
import type { Scenario } from "../scenario.ts";
import { expectEqual } from "./pairs.ts";

const NAME = "cloud1.gannet.test";
const DISK_MIB = 1_280;
/** The second disk, to which cloud-init writes the guest's name at its end. */
const MARK_MIB = 8;
const BOOT_TIMEOUT_MS = 20 * 60_000;
/** As the node sees its own folder, and where the definition looks for images (deploy/os/image/image.conf). */
const FOLDER = "/lab/node/cloud-guest";
const IMAGES = "/srv/gannet/images";

/** What cloud-init does last: whoever sees the guest off, and its name on the disk, knows that all before was done. */
const USER_DATA = `#cloud-config
runcmd:
  - [sh, -c, "hostname | dd of=/dev/vdb conv=fsync"]
power_state: { mode: poweroff, timeout: 60 }
`;

export const CLOUD_INIT: Scenario = {
  name: "a Debian from the OS definition image reaches the end of cloud-init",
  nodes: 1,
  needsCloudGuest: true,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined || lab.cloudGuestDir === undefined) throw new Error("there is no node, or no image");
    const target = path.join(node.plan.dir, "cloud-guest");
    await mkdir(target, { recursive: true });
    for (const file of Object.values(CLOUD_GUEST_FILES))
      await copyFile(path.join(lab.cloudGuestDir, file), path.join(target, file));
    await node.machine.run(`mkdir -p ${IMAGES} && mount --bind ${FOLDER} ${IMAGES}`);

    const instance = await step("create and start", () =>
      LabInstance.create(lab, {
        name: NAME,
        template: "plain",
        primary: node,
        body: {
          os_type: "image",
          osparams: { image: CLOUD_GUEST_FILES.image, network: "none", "user-data": USER_DATA },
          disks: [{ size: DISK_MIB }, { size: MARK_MIB }],
          beparams: { memory: 320, vcpus: 1 },
          hvparams: {
            kernel_path: `${FOLDER}/${CLOUD_GUEST_FILES.kernel}`,
            initrd_path: `${FOLDER}/${CLOUD_GUEST_FILES.initramfs}`,
            root_path: "/dev/vda1",
            kernel_args: "ro quiet mitigations=off nokaslr norandmaps randomize_kstack_offset=off init_on_alloc=0",
            serial_console: true,
            vnc_bind_address: "",
          },
        },
      }),
    );
    await step("the guest has switched itself off", () =>
      eventually("it is off", async () => (await node.machine.run("pgrep -c qemu-system || true")) === "0\n", {
        timeoutMs: BOOT_TIMEOUT_MS,
        // Each look takes from the guest's time.
        everyMs: 2_000,
      }),
    );
    await step("cloud-init had given it its name", async () => {
      const written = await node.machine.run(
        `dd if=${await instance.device(node, 1)} bs=512 count=1 iflag=direct status=none | tr -d '\\000'`,
      );
      expectEqual("name", written.trim(), NAME.split(".")[0]);
    });
    await step("remove", () => instance.remove());
    await node.machine.run(`umount ${IMAGES}`);
  },
};
