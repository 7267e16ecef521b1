/** What connecting a tap means in each mode. */
import { describe, expect, it } from "vitest";
import {
  bridgedSteps,
  openvswitchSteps,
  routedSteps,
  ruleRemovalArgv,
} from "../../../src/hypervisors/kvm/nic/modes.ts";
import { hasNetAdmin, tapArgv } from "../../../src/hypervisors/kvm/nic/tap.ts";
import { tapName } from "../../../src/hypervisors/kvm/nic/tap-name.ts";
import { SYSTEM_NETWORK_TOOLS as TOOLS } from "../../../src/nics/network-tools.ts";
import { NIC } from "./plan-fixture.ts";

const TAP = "gnta1c000001111";

function spoken(steps: { readonly commands: readonly (readonly string[])[] }): readonly string[] {
  return steps.commands.map((argv) => argv.join(" "));
}

describe("a tap", () => {
  it("has a name that Linux allows and that its NIC alone has", () => {
    expect(tapName(NIC.uuid)).toMatch(/^gnt[0-9a-f]{12}$/);
    expect(tapName("a1c00000-1112-2222-3333-444444444444")).not.toBe(tapName(NIC.uuid));
  });

  it.each([
    [{ queues: 1 }, "/sbin/ip tuntap add dev t0 mode tap"],
    [{ queues: 4 }, "/sbin/ip tuntap add dev t0 mode tap multi_queue"],
    [{ queues: 1, ownerUid: 4000 }, "/sbin/ip tuntap add dev t0 mode tap user 4000"],
  ])("of shape %j", (shape, expected) => expect(tapArgv(TOOLS, "t0", shape).join(" ")).toBe(expected));

  it.each([
    ["CapEff:\t000001ffffffffff\n", true],
    ["CapInh:\t0000000000001000\nCapEff:\t0000000000001000\n", true],
    ["CapEff:\t0000000000000fff\nCapBnd:\t000001ffffffffff\n", false],
    ["Name:\tnode\n", false],
  ])("takes the right to make it, which %j tells: %s", (status, expected) => {
    expect(hasNetAdmin(status)).toBe(expected);
  });
});

describe("bridged", () => {
  const join = `/sbin/ip link set dev ${TAP} address fe:00:00:12:34:56 mtu 1400 master br0 up`;
  const facts = { mtu: "1400", defaultVlan: 1 };
  const vlan = (rest: string) => `/sbin/bridge vlan ${rest} master`;
  it.each([
    ["", [join]],
    [".10", [join, vlan(`del dev ${TAP} vid 1`), vlan(`add dev ${TAP} vid 10 pvid untagged`)]],
    [":10:20", [join, vlan(`del dev ${TAP} vid 1`), vlan(`add dev ${TAP} vid 10`), vlan(`add dev ${TAP} vid 20`)]],
    [
      "10:20",
      [join, vlan(`del dev ${TAP} vid 1`), vlan(`add dev ${TAP} vid 10 pvid untagged`), vlan(`add dev ${TAP} vid 20`)],
    ],
  ])("with vlan %j joins with an address the bridge will not take, in its VLANs alone", (text, expected) => {
    expect(spoken(bridgedSteps(TOOLS, { ...NIC, vlan: text }, TAP, facts))).toEqual(expected);
  });

  it("leaves no VLAN on a bridge that has no default one", () => {
    const commands = spoken(bridgedSteps(TOOLS, { ...NIC, vlan: ".10" }, TAP, { mtu: "1500", defaultVlan: 0 }));
    expect(commands.join()).not.toContain(" del ");
  });
});

describe("openvswitch", () => {
  it.each([
    ["", ""],
    [".10", " tag=10"],
    [":10:20", " trunks=10,20"],
    [".5:10", " tag=5 trunks=10 vlan_mode=native-untagged"],
  ])("with vlan %j is one transaction", (vlan, columns) => {
    const nic = { ...NIC, mode: "openvswitch", link: "switch1", vlan } as const;
    expect(spoken(openvswitchSteps(TOOLS, nic, TAP))).toEqual([
      `/sbin/ip link set dev ${TAP} up`,
      `/usr/bin/ovs-vsctl --if-exists del-port ${TAP} -- add-port switch1 ${TAP}${columns}`,
    ]);
  });
});

describe("routed", () => {
  const settings = [
    `/proc/sys/net/ipv4/conf/${TAP}/proxy_arp`,
    `/proc/sys/net/ipv4/conf/${TAP}/forwarding`,
    `/proc/sys/net/ipv6/conf/${TAP}/proxy_ndp`,
    `/proc/sys/net/ipv6/conf/${TAP}/forwarding`,
  ];
  it.each([
    ["192.0.2.7", "", [`/sbin/ip -4 route replace 192.0.2.7 proto static dev ${TAP}`]],
    [
      "192.0.2.7",
      "100",
      [
        `/sbin/ip -4 rule add dev ${TAP} table 100`,
        `/sbin/ip -4 route replace 192.0.2.7 table 100 proto static dev ${TAP}`,
      ],
    ],
    [
      "2001:db8::7",
      "dmz",
      [
        `/sbin/ip -6 rule add dev ${TAP} table dmz`,
        `/sbin/ip -6 route replace 2001:db8::7 table dmz proto static dev ${TAP}`,
      ],
    ],
  ])("to %s in table %j", (ip, link, expected) => {
    const steps = routedSteps(TOOLS, { ...NIC, mode: "routed", ip, link }, TAP);
    expect(spoken(steps)).toEqual([`/sbin/ip link set dev ${TAP} up`, ...expected]);
    expect(steps.settings).toEqual(settings);
  });

  it("leads the node itself to a guest that talks to it, which no rule by interface does", () => {
    const nic = { ...NIC, name: "gnt:com:web1", mode: "routed", ip: "169.254.0.7", link: "communication_rt" } as const;
    expect(spoken(routedSteps(TOOLS, nic, TAP)).slice(1)).toEqual([
      `/sbin/ip -4 rule add dev ${TAP} table communication_rt`,
      `/sbin/ip -4 route replace 169.254.0.7 table communication_rt proto static dev ${TAP}`,
      `/sbin/ip -4 route replace 169.254.0.7 proto static dev ${TAP}`,
    ]);
  });

  it("forgets rules by the interface's name", () => {
    expect(ruleRemovalArgv(TOOLS, TAP, "-6").join(" ")).toBe(`/sbin/ip -6 rule del dev ${TAP}`);
  });
});
