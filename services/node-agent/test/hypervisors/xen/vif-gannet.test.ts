/** What our script has done with an interface, with `ip` and the like that only note how they are called. */
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type { GuestNic } from "@gannet/driver-contract";
import { afterEach, beforeEach, expect, it } from "vitest";
import { nicText } from "../../../src/hypervisors/xen/guest-places.ts";

const SCRIPT = path.resolve(import.meta.dirname, "../../../../../deploy/xen/vif-gannet");
const NIC: GuestNic = {
  uuid: "f0e0d0c0-0000-4000-8000-000000000001",
  index: 0,
  name: null,
  mac: "aa:00:00:11:22:33",
  ip: null,
  mode: "bridged",
  link: "br0",
  vlan: "",
};
/** What Xen 4.17's vif-common.sh gives a script, in short; it looks for the rest of itself beside $0. */
const XEN_PART = `. "$(dirname "$0")/xen-hotplug-common.sh"
command=$1
type_if=vif dev=vif7.0
if [ "$2" = type_if=tap ]; then type_if=tap dev=tap7.0; fi
`;
const XEN_REST = `note() { echo "$*" >> "$NOTES"; }
fatal() { note "fatal $*"; exit 1; }
success() { note success; }
do_or_die() { "$@" || fatal "$@ failed"; }
xenstore_read() { cat "$XENSTORE$1"; }
call_hooks() { note "hooks $*"; }
`;

let folder: string;
const at = (...parts: readonly string[]) => path.join(folder, ...parts);

async function write(file: string, text: string, mode = 0o644): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
  await chmod(file, mode);
}

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-vif-"));
  await write(at("xen/vif-common.sh"), XEN_PART);
  await write(at("xen/xen-hotplug-common.sh"), XEN_REST);
  // The first removal of a rule finds one.
  const once = `case "$*" in *"rule del"*) test -e "$NOTES.$1" && exit 2; : > "$NOTES.$1" ;; esac`;
  for (const tool of ["ip", "bridge", "sysctl"])
    await write(at("bin", tool), `#!/bin/sh\necho "${tool} $*" >> "$NOTES"\n${tool === "ip" ? once : ""}\n`, 0o755);
  await write(at("sys/class/net/br0/mtu"), "9000\n");
  await write(at("sys/class/net/br0/bridge/default_pvid"), "1\n");
  await write(at("store/local/domain/7/name"), "web1.example\n");
});
afterEach(() => rm(folder, { recursive: true }));

async function run(nic: Partial<GuestNic>, ...args: readonly string[]): Promise<readonly string[]> {
  const text = nicText({ name: "web1.example", tags: ["it's"] }, { ...NIC, ...nic });
  await write(at("nics/web1.example/0"), text);
  await rm(at("notes"), { force: true });
  await promisify(execFile)(SCRIPT, args, {
    env: {
      PATH: `${at("bin")}:/usr/bin:/bin`,
      XEN_SCRIPTS: at("xen"),
      NIC_FOLDER: at("nics"),
      SYSFS: at("sys"),
      XENSTORE: at("store"),
      XENBUS_PATH: "backend/vif/7/0",
      NOTES: at("notes"),
    },
  }).catch(() => {});
  return (await readFile(at("notes"), "utf8")).trimEnd().split("\n");
}

const ROUTED = { mode: "routed", link: "100", ip: "192.0.2.1" } as const;
const RULES_GONE = ["-4", "-4", "-6", "-6"].map((family) => `ip ${family} rule del dev vif7.0`);
const SETTINGS = [
  "sysctl -qw net/ipv4/conf/vif7.0/forwarding=1",
  "sysctl -qw net/ipv6/conf/vif7.0/forwarding=1",
  "sysctl -qw net/ipv4/conf/vif7.0/proxy_arp=1",
  "sysctl -qw net/ipv6/conf/vif7.0/proxy_ndp=1",
];

it("a routed card has its address lead there, by its table", async () => {
  expect(await run(ROUTED, "online")).toEqual([
    "ip link set dev vif7.0 up",
    ...RULES_GONE,
    "ip -4 rule add dev vif7.0 table 100",
    "ip -4 route replace 192.0.2.1 table 100 proto static metric 2 dev vif7.0",
    ...SETTINGS,
    "hooks vif post",
    "success",
  ]);
});

it("without a table it is the main one, also of IPv6, and an emulated card comes first", async () => {
  const lines = await run({ ...ROUTED, link: "", ip: "2001:db8::1" }, "add", "type_if=tap");
  expect(lines).toContain("ip -6 route replace 2001:db8::1 proto static metric 1 dev tap7.0");
  expect(lines.filter((line) => / rule add /.test(line))).toEqual([]);
  expect(lines.at(-1)).toBe("hooks vif post");
});

it("the node itself reaches a guest on the guests' own network, one that just comes from another node too", async () => {
  await write(at("store/local/domain/7/name"), "web1.example--incoming\n");
  const lines = await run({ ...ROUTED, name: "gnt:com:0", ip: "169.254.0.1" }, "online");
  expect(lines).toContain("ip -4 route replace 169.254.0.1 table 100 proto static metric 2 dev vif7.0");
  expect(lines).toContain("ip -4 route replace 169.254.0.1 proto static metric 2 dev vif7.0");
});

it.each([
  [".10", ["vid 10 pvid untagged master"]],
  ["10", ["vid 10 pvid untagged master"]],
  [":20:30", ["vid 20 master", "vid 30 master"]],
  [".10:20", ["vid 10 pvid untagged master", "vid 20 master"]],
])("a card on a bridge is in the VLANs %s alone", async (vlan, added) => {
  expect(await run({ vlan }, "online")).toEqual([
    "ip link set dev vif7.0 address fe:ff:ff:ff:ff:ff mtu 9000 master br0 up",
    "bridge vlan del dev vif7.0 vid 1 master",
    ...added.map((each) => `bridge vlan add dev vif7.0 ${each}`),
    "hooks vif post",
    "success",
  ]);
});

it("an interface that goes takes its rules along, whatever is still known of its guest", async () => {
  await rm(at("store"), { recursive: true });
  expect(await run(ROUTED, "offline")).toEqual([...RULES_GONE, "hooks vif post"]);
});

it("what cannot be done is told to Xen", async () => {
  expect((await run({ mode: "openvswitch" }, "online")).at(-1)).toMatch(/^fatal a card of mode openvswitch needs/);
  await write(at("bin/ip"), "#!/bin/sh\nexit 1\n", 0o755);
  expect((await run(ROUTED, "online")).at(-1)).toMatch(/^fatal ip link set dev vif7.0 up failed/);
  await write(at("store/local/domain/7/name"), "other\n");
  expect((await run(ROUTED, "online")).at(-1)).toMatch(/^fatal nothing is known of card 0 of other/);
});
