/** Guests of Xen, on nodes that are Xen's domain 0. */
import { UNDER_EMULATION } from "../conformance/guest-kinds.ts";
import { XEN_GUEST_INITRAMFS, XEN_GUEST_KERNEL } from "../guest/xen-guest.ts";
import { LabInstance } from "../lab-instance.ts";
import type { Scenario } from "../scenario.ts";
import { XEN_CONFORMANCE } from "./conformance.ts";
import { expectEqual, inSync, twoNodes } from "./pairs.ts";
import { RECORDED_XL } from "./recorded-tools.ts";

const KERNEL = {
  kernel_path: XEN_GUEST_KERNEL,
  initrd_path: XEN_GUEST_INITRAMFS,
  kernel_args: "console=hvc0 quiet mitigations=off",
  root_path: "",
} as const;
/** A Linux of 65 MB, unpacked. */
const MEMORY = { beparams: { memory: 160, vcpus: 1 } } as const;

const PV: Scenario = {
  name: "xen: a PV guest is created, reached by its console, rebooted, stopped, removed",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const instance = await step("create and start", () =>
      LabInstance.create(lab, {
        name: "pv1.gannet.test",
        template: "plain",
        primary: node,
        body: { hypervisor: "xen-pvm", hvparams: KERNEL, ...MEMORY },
      }),
    );
    await step("the guest counts", () => instance.counts());
    await step("its console is told", async () => {
      const { status, body } = await lab.rapi.rapi("GET", `${instance.resource}/console`);
      expectEqual("status", status, 200);
      if (!JSON.stringify(body).includes(instance.name)) throw new Error(`console: ${JSON.stringify(body)}`);
    });
    await step("reboot", () => instance.change("POST", "/reboot?type=hard", { shutdown_timeout: 0 }));
    await step("its second boot counts", () => instance.countsAfterBoot(2));
    await step("stop", () => instance.stop());
    await step("remove", () => instance.remove());
  },
};

const PVH: Scenario = {
  name: "xen: a PVH guest on drbd is live-migrated",
  nodes: 2,
  async run(lab, step) {
    const [first, second] = await twoNodes(lab);
    const instance = await step("create with its disks in sync, and start", () =>
      LabInstance.create(lab, {
        name: "pvh1.gannet.test",
        template: "drbd",
        primary: first,
        secondary: second,
        body: {
          hypervisor: "xen-pvm",
          hvparams: { ...KERNEL, guest_type: "pvh", ...UNDER_EMULATION },
          ...MEMORY,
        },
      }),
    );
    const before = await step("the guest counts", () => instance.counts());
    await step("both ends are in sync", () => inSync(instance, second));
    await step("live-migrate", () => instance.migrate());
    expectEqual("primary node", (await instance.primary()).name, second.name);
    await step("its count goes on unbroken on the other node", () => instance.counts(before));
    await step("remove", () => instance.remove());
  },
};

export const XEN_SCENARIOS: readonly Scenario[] = [PV, RECORDED_XL, ...XEN_CONFORMANCE, PVH];
