/** NICs of each mode on real taps, which takes root. Open vSwitch is a script that notes how it is called. */
import { access, chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestNic, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { NicConnections } from "../../../src/hypervisors/kvm/nic/connections.ts";
import { tapObstacle } from "../../../src/hypervisors/kvm/nic/tap.ts";
import { tapName } from "../../../src/hypervisors/kvm/nic/tap-name.ts";
import { type NetworkTools, SYSTEM_NETWORK_TOOLS } from "../../../src/nics/network-tools.ts";
import { bareGuest, makeTestNode, type TestNode } from "../node-fixture.ts";
import { NIC } from "./plan-fixture.ts";

const NEVER = new AbortController().signal;
/** Of no other test and no machine. */
const TABLE = String(1_000_000 + process.pid);

const obstacle = await tapObstacle();
if (obstacle !== undefined) console.warn(`Not testing NICs on real taps: ${obstacle}`);

let node: TestNode;
let folder: string;
let tools: NetworkTools;
let connections: NicConnections;

beforeAll(async () => {
  node = await makeTestNode({ kvmAcceleration: "off" });
});
afterAll(() => node.remove());

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-nics-"));
  tools = { ...SYSTEM_NETWORK_TOOLS, ovsVsctl: path.join(folder, "ovs-vsctl"), scriptFolder: path.join(folder, "etc") };
  connections = new NicConnections({ ...node.parts, tools });
});
afterEach(async () => {
  await connections.disconnectAll(path.join(folder, "nic"), undefined);
  await rm(folder, { recursive: true, force: true });
});

function nicOf(changes: Partial<GuestNic>): GuestNic {
  return { ...NIC, uuid: `${process.pid.toString(16).padStart(8, "0")}-0c0c-4000-8000-000000000000`, ...changes };
}

function guestWith(...nics: readonly GuestNic[]): GuestSpec {
  return { ...bareGuest("web1.example", "kvm", HYPERVISOR_DEFAULTS.kvm), nics, tags: ["fast"] };
}

/** How {@link connect} connects unless told otherwise. */
const AT_START = { tap: { queues: 1 }, phase: "start" } as const;

function connect(guest: GuestSpec, changes: Partial<Parameters<NicConnections["connectAll"]>[0]> = {}): Promise<void> {
  return connections.connectAll({ guest, folder: path.join(folder, "nic"), ...AT_START, ...changes }, NEVER);
}

async function script(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\n${text}\n`);
  await chmod(file, 0o755);
  return file;
}

async function ip(...args: readonly string[]): Promise<string> {
  return (await node.parts.runner.run({ argv: ["/sbin/ip", ...args], timeoutMs: 10_000 })).stdout;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function openedTaps(pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`;
  const opened = await Promise.all(
    (await readdir(folder)).map((fd) => readlink(path.join(folder, fd)).catch(() => "")),
  );
  return opened.filter((file) => file === "/dev/net/tun").length;
}

function noted(): Promise<string> {
  return readFile(path.join(folder, "noted"), "utf8");
}

describe.skipIf(obstacle !== undefined)("a routed NIC", () => {
  const nic = nicOf({ mode: "routed", ip: "192.0.2.7", link: TABLE });
  const tap = tapName(nic.uuid);
  const rules = async () => (await ip("rule", "show")).split("\n").filter((line) => line.includes(tap));

  it("has its address routed to it by its own table, and the node answer for its neighbours", async () => {
    await connect(guestWith(nic));
    expect(await rules()).toEqual([expect.stringMatching(`from all iif ${tap} lookup ${TABLE}`)]);
    expect(await ip("route", "show", "table", TABLE)).toMatch(new RegExp(`192\\.0\\.2\\.7 dev ${tap} proto static`));
    for (const setting of ["proxy_arp", "forwarding"]) {
      expect(await readFile(`/proc/sys/net/ipv4/conf/${tap}/${setting}`, "utf8")).toBe("1\n");
    }
  });

  it("leaves neither interface, rule nor route behind, whether its guest is known or not", async () => {
    for (const known of [guestWith(nic), undefined]) {
      await connect(guestWith(nic));
      await connections.disconnectAll(path.join(folder, "nic"), known);
      expect(await rules()).toEqual([]);
      expect(await ip("route", "show", "table", "all")).not.toContain(tap);
      expect(await exists(`/sys/class/net/${tap}`)).toBe(false);
    }
  });

  it("that is connected again has one rule", async () => {
    await connect(guestWith(nic));
    await connect(guestWith(nic));
    expect(await rules()).toHaveLength(1);
  });

  it("draws no traffic before its guest has come from another node", async () => {
    await connect(guestWith(nic), { phase: "incoming" });
    expect(await exists(`/sys/class/net/${tap}`)).toBe(true);
    expect(await rules()).toEqual([]);
    await connections.arrive(guestWith(nic), NEVER);
    expect(await rules()).toHaveLength(1);
  });

  it("without a table is in the main one", async () => {
    await connect(guestWith({ ...nic, link: "" }));
    expect(await rules()).toEqual([]);
    expect(await ip("route", "show", "192.0.2.7")).toMatch(`dev ${tap}`);
  });
});

describe.skipIf(obstacle !== undefined)("an Open vSwitch NIC", () => {
  const nic = nicOf({ mode: "openvswitch", link: "switch1", vlan: ".5:10" });
  const tap = tapName(nic.uuid);
  const noting = () => script("ovs-vsctl", `echo "$@" >> ${folder}/noted\n[ "$1 $2" != "br-exists gone" ] || exit 2`);

  it("is a port of its switch, with its VLANs, until it goes", async () => {
    await noting();
    const guest = guestWith(nic);
    await connections.check(guest);
    await connect(guest);
    await connections.disconnect(path.join(folder, "nic"), guest, nic);
    expect((await noted()).trim().split("\n")).toEqual([
      "br-exists switch1",
      `--if-exists del-port ${tap} -- add-port switch1 ${tap} tag=5 trunks=10 vlan_mode=native-untagged`,
      `--if-exists del-port ${tap}`,
    ]);
    expect(await exists(`/sys/class/net/${tap}`)).toBe(false);
  });

  it("is refused where the switch, or Open vSwitch itself, is missing or broken", async () => {
    await expect(connections.check(guestWith(nic))).rejects.toThrow(/NIC 0: there is no .*ovs-vsctl.*install/);
    await noting();
    await expect(connections.check(guestWith({ ...nic, link: "gone" }))).rejects.toThrow(/gone is not an Open vSwitch/);
    await expect(connections.check(guestWith({ ...nic, vlan: "9999" }))).rejects.toThrow(/vlan "9999" is not like/);
    await expect(connections.check(guestWith({ ...nic, link: "-x" }))).rejects.toThrow(/not the name of a switch/);
    await script("ovs-vsctl", "echo 'database connection failed' >&2; exit 1");
    await expect(connections.check(guestWith(nic))).rejects.toThrow(/Open vSwitch does not answer.*connection failed/s);
  });

  it("leaves no tap when the switch refuses it, and goes even then", async () => {
    await script("ovs-vsctl", "exit 1");
    await expect(connect(guestWith(nic))).rejects.toThrow(/NIC 0 cannot be connected to switch1/);
    expect(await exists(`/sys/class/net/${tap}`)).toBe(false);
  });
});

describe.skipIf(obstacle !== undefined)("a site's script", () => {
  const nic = nicOf({ mode: "ext", link: "", name: "lan", ip: "192.0.2.9" });
  const tap = tapName(nic.uuid);
  const dump = () =>
    `echo "$1 $MODE $ACTION $INSTANCE $IP $TAGS \${MIGRATION_PHASE-none} \${HOME-clean}" >> ${folder}/noted`;

  it("alone connects a NIC of mode ext, and disconnects it", async () => {
    await expect(connections.check(guestWith(nic))).rejects.toThrow(/mode ext needs the site's script .*ext\/up/);
    await script("etc/network/ext/up", dump());
    await script("etc/network/ext/down", dump());
    await connections.check(guestWith(nic));
    await connect(guestWith(nic));
    await connections.disconnectAll(path.join(folder, "nic"), guestWith(nic));
    expect((await noted()).trim().split("\n")).toEqual([
      `${tap} ext up web1.example 192.0.2.9 fast none clean`,
      `${tap} ext down web1.example 192.0.2.9 fast none clean`,
    ]);
  });

  it("of mode ext is told the phase of a migration, and may fail before the guest comes", async () => {
    await script("etc/network/ext/up", `${dump()}\n[ "$MIGRATION_PHASE" != pre ]`);
    await connect(guestWith(nic), { phase: "incoming" });
    await connections.arrive(guestWith(nic), NEVER);
    expect((await noted()).match(/fast \w+/g)).toEqual(["fast pre", "fast post"]);
  });

  it("takes the place of what the agent does, the newer before the older", async () => {
    const routed = nicOf({ mode: "routed", ip: "192.0.2.7", link: TABLE });
    await script("etc/kvm-vif-bridge", `echo older >> ${folder}/noted`);
    await connect(guestWith(routed));
    await script("etc/network/routed/up", `echo newer >> ${folder}/noted`);
    await connect(guestWith(routed));
    expect(await noted()).toBe("older\nnewer\n");
    expect(await ip("rule", "show")).not.toContain(tap);
  });

  it("that fails fails the connection with its words, and leaves nothing", async () => {
    await script("etc/network/ext/up", "echo 'no free port' >&2; exit 3");
    await expect(connect(guestWith(nic))).rejects.toMatchObject({
      name: "HypervisorError",
      message: expect.stringMatching(/web1\.example, NIC 0: the site's script failed: .*no free port/s),
    });
    expect(await exists(`/sys/class/net/${tap}`)).toBe(false);
    expect(await exists(path.join(folder, "nic"))).toBe(false);
  });

  it("that fails on the way down keeps no interface", async () => {
    await script("etc/network/ext/up", "true");
    await script("etc/network/ext/down", "exit 1");
    await connect(guestWith(nic));
    await connections.disconnectAll(path.join(folder, "nic"), guestWith(nic));
    expect(await exists(`/sys/class/net/${tap}`)).toBe(false);
  });
});

describe.skipIf(obstacle !== undefined)("a tap's shape", () => {
  const nic = nicOf({ mode: "ext" });
  const tap = tapName(nic.uuid);

  it("lets an unprivileged qemu open it, in as many queues as the card has", async () => {
    await script("etc/network/ext/up", "true");
    await connect(guestWith(nic), { tap: { queues: 2, ownerUid: 4321 } });
    expect(await readFile(`/sys/class/net/${tap}/owner`, "utf8")).toBe("4321\n");
    const MULTI_QUEUE = 0x100;
    expect(Number(await readFile(`/sys/class/net/${tap}/tun_flags`, "utf8")) & MULTI_QUEUE).toBe(MULTI_QUEUE);
  });

  it("is what a real qemu opens: two queues, without offload headers", async () => {
    await script("etc/network/ext/up", `/sbin/ip link set "$1" up`);
    const driver = new KvmHypervisor({
      ...node.parts,
      options: { kvmAcceleration: "off", networkTools: tools },
    });
    const params = { ...HYPERVISOR_DEFAULTS.kvm, virtio_net_queues: 2, vnet_hdr: false };
    await driver.recover();
    try {
      await driver.start({ ...guestWith(nic), hvparams: params }, { paused: true }, NEVER);
      expect(await readFile(`/sys/class/net/${tap}/carrier`, "utf8")).toBe("1\n");
      const VNET_HDR = 0x4000;
      expect(Number(await readFile(`/sys/class/net/${tap}/tun_flags`, "utf8")) & VNET_HDR).toBe(0);
      // A queue that the guest has not switched on yet is open, and not in use.
      expect(await openedTaps(Number((await node.processes())[0]?.pid))).toBe(2);
    } finally {
      await driver.stop("web1.example", { force: true, timeoutMs: 5_000 }, NEVER);
      await driver.close();
    }
    expect(await exists(`/sys/class/net/${tap}`)).toBe(false);
  });
});

describe("a NIC that cannot be connected is refused by its number", () => {
  it.each<readonly [RegExp, Partial<GuestNic>]>([
    [/link nosuchbr is not a bridge/, { link: "nosuchbr" }],
    [/link lo is not a bridge/, { link: "lo" }],
    [/link "\.\.\/lo" is not the name/, { link: "../lo" }],
    [/mode routed needs an IP/, { mode: "routed", ip: null }],
    [/"1\.2\.3" is not an IP/, { mode: "routed", ip: "1.2.3" }],
    [/link "-4 flush" is not a routing table/, { mode: "routed", ip: "192.0.2.1", link: "-4 flush" }],
    [/Invalid MAC address/, { mac: "x,y=z" }],
    [/not in lower case/, { mac: "AA:00:00:00:00:01" }],
  ])("%s", async (reason, changes) => {
    await expect(connections.check(guestWith(nicOf(changes)))).rejects.toMatchObject({
      name: "HypervisorError",
      message: expect.stringMatching(reason),
    });
  });
});
