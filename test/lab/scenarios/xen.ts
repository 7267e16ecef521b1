/** Guests of Xen, on nodes that are Xen's domain 0. */
import path from "node:path";
import { SAVING_CHECKS } from "@gannet/driver-contract/conformance";
import { bundleProgram } from "../../../deploy/packages/bundle.ts";
import { eventually } from "../../e2e/conditions.ts";
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

const SAVING_PROGRAM = "saving.mjs";
const SAVING_WITHIN_MS = 300_000;

const TABLE = 100;
const BRIDGE = "vlans";
const VLAN = 5;
const ROUTED = "192.0.2.10";
const TAGGED = "192.0.3.10";
/** The node is in the VLAN, too, and finds its own way by the guests' table. */
const MAKE_NETWORKS = `ip link add name ${BRIDGE} type bridge vlan_filtering 1 forward_delay 0
bridge vlan add dev ${BRIDGE} vid ${VLAN} self
ip link add link ${BRIDGE} name ${BRIDGE}.${VLAN} type vlan id ${VLAN}
ip address add 192.0.3.1/24 dev ${BRIDGE}.${VLAN}
ip link set ${BRIDGE} up && ip link set ${BRIDGE}.${VLAN} up
ip rule add to ${ROUTED} lookup ${TABLE}`;
const REMOVE_NETWORKS = `ip link delete ${BRIDGE}.${VLAN} && ip link delete ${BRIDGE}
ip rule delete to ${ROUTED} lookup ${TABLE}`;
/** Cards of guests in the rules and routes by which they are routed, an emulated one's as tap. */
const LIST_ROUTES = `ip rule | sed -n 's/.*iif vif[0-9.]*\\(-emu\\)\\? .*lookup/rule\\1/p'
ip route show table ${TABLE} | sed 's/dev vif[0-9.]*\\(-emu\\)\\?/dev card\\1/;s/ scope link//;s/ linkdown//;s/ *$//'`;

const NICS: Scenario = {
  name: "xen: network cards that are routed, and that have a VLAN, of PV and emulated ones of HVM guests",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const { machine } = node;
    const routes = async () => (await machine.run(LIST_ROUTES)).trim().split("\n").sort();
    const routed = { mode: "routed", ip: ROUTED, link: String(TABLE) };
    await step("make a bridge with VLANs", () => machine.run(MAKE_NETWORKS));
    const instance = await step("create and start a PV guest", () =>
      LabInstance.create(lab, {
        name: "pv2.gannet.test",
        template: "plain",
        primary: node,
        body: {
          hypervisor: "xen-pvm",
          hvparams: { ...KERNEL, kernel_args: `${KERNEL.kernel_args} lab.addresses=${ROUTED}/32,${TAGGED}/24` },
          ...MEMORY,
          nics: [routed, { mode: "bridged", link: BRIDGE, vlan: `.${VLAN}` }],
        },
      }),
    );
    const isReached = async () => {
      for (const address of [ROUTED, TAGGED])
        await eventually(
          `${address} answers`,
          async () => (await machine.command(`ping -q -c 1 -W 1 ${address}`)).exitCode === 0,
        );
      expectEqual("its routes", (await routes()).join("; "), `${ROUTED} dev card proto static metric 2; rule ${TABLE}`);
      const [card = ""] = (await machine.run(`bridge link show | grep -o 'vif[0-9]*\\.1'`)).split("\n");
      const vlans = await machine.run(`bridge vlan show dev ${card} | sed -n 's/^${card} *//p'`);
      expectEqual("its VLANs", vlans.trim(), `${VLAN} PVID Egress Untagged`);
    };
    await step("both cards reach it", isReached);
    await step("reboot", () => instance.change("POST", "/reboot?type=hard", { shutdown_timeout: 0 }));
    await step("both cards reach it again", isReached);
    await step("remove", () => instance.remove());
    expectEqual("routes that are left", (await routes()).join("; "), "");

    const emulated = await step("create and start an HVM guest", () =>
      LabInstance.create(lab, {
        name: "hvm1.gannet.test",
        template: "plain",
        primary: node,
        body: {
          hypervisor: "xen-hvm",
          hvparams: { ...UNDER_EMULATION, vnc_bind_address: "", boot_order: "c" },
          nics: [routed],
        },
      }),
    );
    await step("it counts on its emulated disk", () => emulated.counts());
    expectEqual(
      "its routes",
      (await routes()).join("; "),
      [
        `${ROUTED} dev card proto static metric 2`,
        `${ROUTED} dev card-emu proto static metric 1`,
        `rule ${TABLE}`,
        `rule-emu ${TABLE}`,
      ].join("; "),
    );
    await step("stop and remove", () => emulated.remove());
    expectEqual("routes that are left", (await routes()).join("; "), "");
    await machine.run(REMOVE_NETWORKS);
  },
};

const SAVING: Scenario = {
  name: "xen: an HVM guest is saved and restored by its driver",
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    await bundleProgram("test/lab/conformance/saving-on-node.ts", path.join(node.plan.dir, SAVING_PROGRAM), {
      ownFolders: "in-repository",
    });
    const told = await step(`${SAVING_CHECKS.length} checks`, () =>
      node.machine.run(`node /lab/node/${SAVING_PROGRAM} && rm -r /run/saving`, SAVING_WITHIN_MS),
    );
    expectEqual("checks", told.trim(), SAVING_CHECKS.map(({ name }) => name).join("\n"));
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

export const XEN_SCENARIOS: readonly Scenario[] = [...XEN_CONFORMANCE, PV, NICS, SAVING, RECORDED_XL, PVH];
