import { expect, test } from "vitest";
import { coreEnvironment, instanceEnvironment } from "../../src/os/environment.ts";
import { GUEST } from "./os-fixture.ts";

const core = (apiVersion: number, changes: { variants?: string[]; variant?: string } = {}) =>
  coreEnvironment({
    definition: { name: "debian", apiVersion, variants: changes.variants ?? [] },
    variant: changes.variant,
    parameters: { "root-password": "s3cret", dhcp: "yes" },
    debugLevel: 2,
  });

const common = { OS_NAME: "debian", DEBUG_LEVEL: "2", PATH: "/sbin:/bin:/usr/sbin:/usr/bin" };

test("each version of the interface adds its variables", () => {
  expect(core(10)).toEqual({ ...common, OS_API_VERSION: "10" });
  expect(core(15)).toEqual({ ...common, OS_API_VERSION: "15", OS_VARIANT: "" });
  expect(core(20)).toEqual({
    ...common,
    OS_API_VERSION: "20",
    OS_VARIANT: "",
    OSP_ROOT_PASSWORD: "s3cret",
    OSP_DHCP: "yes",
  });
});

test("the variant is the one asked for, else the first listed", () => {
  expect(core(15, { variants: ["bookworm", "trixie"], variant: "trixie" }).OS_VARIANT).toBe("trixie");
  expect(core(15, { variants: ["bookworm", "trixie"] }).OS_VARIANT).toBe("bookworm");
  expect(core(20, { variants: ["bookworm"], variant: "forced" }).OS_VARIANT).toBe("forced");
});

test("an instance is described as Ganeti describes it", () => {
  const environment = instanceEnvironment({
    os: "debian+trixie",
    ctime: 1_700_000_000,
    mtime: 1_700_000_100.5,
    primaryNode: "node-a",
    secondaryNodes: ["node-b", "node-c"],
    beparams: { maxmem: 512, always_failover: false, auto_balance: true },
    guest: {
      ...GUEST,
      hvparams: {
        disk_type: "paravirtual",
        nic_type: "virtio",
        kernel_path: "",
        migration_downtime: 30,
        cpu_type: null,
      },
      disks: [
        {
          uuid: "disk-0",
          index: 0,
          name: "root",
          path: "/srv/ganeti/file/web1/disk0",
          kind: "file",
          format: "raw",
          access: "rw",
          sizeMib: 1024,
          fileDriver: "blktap2",
        },
        {
          uuid: "disk-1",
          index: 1,
          name: null,
          path: "/dev/xenvg/disk1",
          uris: { kvm: "rbd:pool/disk1", "xen-pvm": "other" },
          kind: "block",
          format: "raw",
          access: "ro",
          sizeMib: 5,
        },
        { uuid: "disk-2", index: 2, name: null, path: "/srv/2", kind: "file", format: "raw", access: "rw", sizeMib: 5 },
      ],
      nics: [
        {
          uuid: "nic-0",
          index: 0,
          name: "lan",
          mac: "aa:00:00:00:00:01",
          ip: "192.0.2.7",
          mode: "bridged",
          link: "br0",
          vlan: "",
        },
        {
          uuid: "nic-1",
          index: 1,
          name: null,
          mac: "aa:00:00:00:00:02",
          ip: null,
          mode: "routed",
          link: "100",
          vlan: "",
          network: {
            name: "lan",
            uuid: "net-0",
            subnet: "192.0.2.0/24",
            gateway: "192.0.2.1",
            subnet6: "2001:db8::/64",
            gateway6: "2001:db8::1",
            macPrefix: "aa:bb:cc",
            tags: ["dmz", "fast"],
          },
        },
        {
          ...{ uuid: "nic-2", index: 2, name: null, mac: "aa:00:00:00:00:03", ip: null, mode: "user" },
          ...{ link: "", vlan: "" },
          network: {
            ...{ name: "bare", uuid: "net-1", subnet: null, gateway: null, subnet6: null, gateway6: null },
            ...{ macPrefix: null, tags: [] },
          },
        },
      ],
    },
  });
  expect(environment).toEqual({
    INSTANCE_NAME: "web1.example.com",
    INSTANCE_UUID: "9c1a3c4e-5f6d-4d8e-9b0a-1c2d3e4f5a6b",
    INSTANCE_OS: "debian+trixie",
    INSTANCE_CTIME: "1700000000.0",
    INSTANCE_MTIME: "1700000100.5",
    INSTANCE_PRIMARY_NODE: "node-a",
    INSTANCE_SECONDARY_NODES: "node-b node-c",
    HYPERVISOR: "kvm",
    DISK_COUNT: "3",
    NIC_COUNT: "3",
    INSTANCE_BE_maxmem: "512",
    INSTANCE_BE_always_failover: "False",
    INSTANCE_BE_auto_balance: "True",
    INSTANCE_HV_disk_type: "paravirtual",
    INSTANCE_HV_nic_type: "virtio",
    INSTANCE_HV_kernel_path: "",
    INSTANCE_HV_migration_downtime: "30",
    INSTANCE_HV_cpu_type: "None",
    DISK_0_PATH: "/srv/ganeti/file/web1/disk0",
    DISK_0_ACCESS: "rw",
    DISK_0_UUID: "disk-0",
    DISK_0_SIZE: "1024",
    DISK_0_NAME: "root",
    DISK_0_FRONTEND_TYPE: "paravirtual",
    DISK_0_BACKEND_TYPE: "file:blktap2",
    DISK_1_PATH: "/dev/xenvg/disk1",
    DISK_1_URI: "rbd:pool/disk1",
    DISK_1_ACCESS: "ro",
    DISK_1_UUID: "disk-1",
    DISK_1_SIZE: "5",
    DISK_1_FRONTEND_TYPE: "paravirtual",
    DISK_1_BACKEND_TYPE: "block",
    DISK_2_PATH: "/srv/2",
    DISK_2_ACCESS: "rw",
    DISK_2_UUID: "disk-2",
    DISK_2_SIZE: "5",
    DISK_2_FRONTEND_TYPE: "paravirtual",
    DISK_2_BACKEND_TYPE: "file:loop",
    NIC_0_MAC: "aa:00:00:00:00:01",
    NIC_0_UUID: "nic-0",
    NIC_0_NAME: "lan",
    NIC_0_IP: "192.0.2.7",
    NIC_0_MODE: "bridged",
    NIC_0_BRIDGE: "br0",
    NIC_0_LINK: "br0",
    NIC_0_FRONTEND_TYPE: "virtio",
    NIC_1_MAC: "aa:00:00:00:00:02",
    NIC_1_UUID: "nic-1",
    NIC_1_MODE: "routed",
    NIC_1_LINK: "100",
    NIC_1_FRONTEND_TYPE: "virtio",
    NIC_1_NETWORK_NAME: "lan",
    NIC_1_NETWORK_UUID: "net-0",
    NIC_1_NETWORK_TAGS: "dmz fast",
    NIC_1_NETWORK_SUBNET: "192.0.2.0/24",
    NIC_1_NETWORK_GATEWAY: "192.0.2.1",
    NIC_1_NETWORK_SUBNET6: "2001:db8::/64",
    NIC_1_NETWORK_GATEWAY6: "2001:db8::1",
    NIC_1_NETWORK_MAC_PREFIX: "aa:bb:cc",
    NIC_2_MAC: "aa:00:00:00:00:03",
    NIC_2_UUID: "nic-2",
    NIC_2_MODE: "user",
    NIC_2_FRONTEND_TYPE: "virtio",
    NIC_2_NETWORK_NAME: "bare",
    NIC_2_NETWORK_UUID: "net-1",
    NIC_2_NETWORK_TAGS: "",
  });
});

test("without disks, interfaces and parameters only the instance itself is described", () => {
  const facts = { os: "noop", ctime: 0, mtime: 0, primaryNode: "a", secondaryNodes: [], beparams: {}, guest: GUEST };
  expect(Object.keys(instanceEnvironment(facts))).toHaveLength(10);
});
