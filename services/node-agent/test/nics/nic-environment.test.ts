import type { GuestNic } from "@gannet/driver-contract";
import { describe, expect, it } from "vitest";
import { nicEnvironment } from "../../src/nics/nic-environment.ts";
import { parseVlan } from "../../src/nics/vlan.ts";

const NIC: GuestNic = {
  uuid: "a1c00000-1111-2222-3333-444444444444",
  index: 1,
  name: null,
  mac: "aa:00:00:12:34:56",
  ip: null,
  mode: "routed",
  link: "",
  vlan: "",
};
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

describe("what a script is told of a NIC", () => {
  it("leaves out what the NIC has not", () => {
    expect(nicEnvironment({ name: "web1.example" }, NIC, { interface: "tap0", action: "down" })).toEqual({
      PATH,
      INSTANCE: "web1.example",
      MAC: "aa:00:00:12:34:56",
      MODE: "routed",
      INTERFACE: "tap0",
      INTERFACE_INDEX: "1",
      INTERFACE_UUID: NIC.uuid,
      TAGS: "",
      ACTION: "down",
    });
  });

  it("is everything that Ganeti tells", () => {
    const nic: GuestNic = {
      ...NIC,
      name: "lan",
      ip: "192.0.2.7",
      mode: "bridged",
      link: "br0",
      vlan: ".10:20",
      network: {
        name: "office",
        uuid: "dddddddd-0000-4000-8000-000000000000",
        subnet: "192.0.2.0/24",
        gateway: "192.0.2.1",
        subnet6: "2001:db8::/64",
        gateway6: "2001:db8::1",
        macPrefix: "aa:00:00",
        tags: ["wired", "slow"],
      },
    };
    const event = { interface: "tap0", action: "up", migrationPhase: "post" } as const;
    expect(nicEnvironment({ name: "web1.example", tags: ["a", "b"] }, nic, event)).toEqual({
      PATH,
      INSTANCE: "web1.example",
      MAC: "aa:00:00:12:34:56",
      MODE: "bridged",
      INTERFACE: "tap0",
      INTERFACE_INDEX: "1",
      INTERFACE_UUID: NIC.uuid,
      INTERFACE_NAME: "lan",
      TAGS: "a b",
      ACTION: "up",
      MIGRATION_PHASE: "post",
      IP: "192.0.2.7",
      LINK: "br0",
      VLAN: ".10:20",
      BRIDGE: "br0",
      NETWORK_NAME: "office",
      NETWORK_UUID: "dddddddd-0000-4000-8000-000000000000",
      NETWORK_TAGS: "wired slow",
      NETWORK_SUBNET: "192.0.2.0/24",
      NETWORK_GATEWAY: "192.0.2.1",
      NETWORK_SUBNET6: "2001:db8::/64",
      NETWORK_GATEWAY6: "2001:db8::1",
      NETWORK_MAC_PREFIX: "aa:00:00",
    });
  });
});

describe("VLANs", () => {
  it.each([
    ["", { untagged: undefined, tagged: [] }],
    ["10", { untagged: 10, tagged: [] }],
    [".10", { untagged: 10, tagged: [] }],
    [":10:20", { untagged: undefined, tagged: [10, 20] }],
    [".10:20:4094", { untagged: 10, tagged: [20, 4094] }],
  ])("%j", (text, expected) => expect(parseVlan(text)).toEqual(expected));

  it.each(["0", "4095", ":0", ".10:", "10,20", "-1", "..10", "ten", "10 20"])("%j is refused", (text) => {
    expect(() => parseVlan(text)).toThrow(/is not like .10:20/);
  });
});
