/** lxc by simulated commands, with real mounts. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestDisk, GuestNic, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { clearFault, setFault, type ToolFault } from "../../../../../test/simulated-tools/faults.ts";
import { installSimulatedTools } from "../../../../../test/simulated-tools/install.ts";
import { crashContainer } from "../../../../../test/simulated-tools/lxc/lxc.ts";
import { ContainerHypervisor } from "../../../src/hypervisors/container/container-hypervisor.ts";
import { firstPartition, PARTITION_TABLE_BYTES } from "../../../src/hypervisors/container/partition-table.ts";
import { mountArgv, mountPoints } from "../../../src/hypervisors/container/root-mount.ts";
import { containerCpuSeconds, readCgroups } from "../../../src/hypervisors/lxc/cgroups.ts";
import { containerEnd } from "../../../src/hypervisors/lxc/container-end.ts";
import { parseContainerList } from "../../../src/hypervisors/lxc/container-list.ts";
import { LxcBackend } from "../../../src/hypervisors/lxc/lxc-backend.ts";
import { lxcConfig } from "../../../src/hypervisors/lxc/lxc-config.ts";
import { makeDiskImage } from "../container/disk-image.ts";
import { bareGuest, makeTestNode, type TestNode, uuidOf } from "../node-fixture.ts";
import { type LocalHypervisor, testConformance } from "../served-hypervisor.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;
const NAME = "web1.example";

const NIC: GuestNic = {
  uuid: uuidOf("nic"),
  index: 0,
  name: null,
  mac: "aa:00:00:11:22:33",
  ip: null,
  mode: "bridged",
  link: "br0",
  vlan: "",
};

let node: TestNode;
let folder: string;
let disk: GuestDisk;

async function prepare(): Promise<void> {
  const bare = await makeTestNode({});
  folder = path.join(bare.parts.stateDir, "simulated");
  const { binFolder } = await installSimulatedTools({ folder, volumeGroups: [] });
  node = { ...bare, parts: { ...bare.parts, options: { lxc: { binFolder } } } };
  const images = path.join(bare.parts.stateDir, "images");
  await mkdir(images);
  disk = await makeDiskImage(images);
}

const openDriver = () => new ContainerHypervisor(new LxcBackend(node.parts), node.parts);

function guest(name: string, hvparams: GuestSpec["hvparams"] = {}): GuestSpec {
  return { ...bareGuest(name, "lxc", { ...HYPERVISOR_DEFAULTS.lxc, ...hvparams }), disks: [disk] };
}

async function leftovers(): Promise<readonly string[]> {
  const { stateDir } = node.parts;
  const points = mountPoints(await readFile("/proc/self/mountinfo", "utf8"));
  const base = path.join(stateDir, "lxc-hypervisor");
  const files = await readdir(base, { recursive: true, withFileTypes: true });
  return [
    ...[...points].filter((point) => point.startsWith(`${stateDir}/`)),
    ...files
      .filter((entry) => !entry.isDirectory() && entry.name !== "containers.json")
      .map((entry) => path.join(entry.parentPath, entry.name)),
  ];
}

describe("lxc, with simulated commands", () => {
  let subject: LocalHypervisor;
  beforeAll(async () => {
    await prepare();
    subject = {
      open: async () => openDriver(),
      guest: (name) => guest(name),
      failingGuest: (name) => guest(name, { extra_config: "lxc.environment = BROKEN=1" }),
      crash: (name) => crashContainer(folder, path.join(node.parts.stateDir, "lxc-hypervisor/containers"), name),
      leftovers,
    };
  });
  afterAll(() => node.remove());

  testConformance(() => subject);
});

describe("lxc's commands", () => {
  let driver: ContainerHypervisor;
  beforeEach(async () => {
    await prepare();
    driver = openDriver();
    await driver.recover();
  });
  afterEach(async () => {
    for (const tool of ["lxc-start", "lxc-stop", "lxc-ls", "lxc-wait"]) clearFault(folder, tool);
    await driver.stop(NAME, FORCED, NEVER);
    await driver.close();
    await node.remove();
  });

  it.each<[string, string, ToolFault, RegExp]>([
    ["a start that does nothing", "lxc-start", { answer: { exitCode: 0 } }, /could not wait for|does not run/],
    ["a start that prints garbage", "lxc-start", { answer: { exitCode: 9, stderr: "%$!" } }, /could not start .*%\$!/],
    ["a list that is none", "lxc-ls", { answer: { exitCode: 0, stdout: "hello\n" } }, /list of lxc's containers/],
  ])("%s is an error, and nothing is left", async (_what, tool, what, message) => {
    setFault(folder, tool, what);
    const spec = guest(NAME, { startup_timeout: 1 });
    await expect(driver.start(spec, RUNNING, NEVER)).rejects.toThrow(message);
    clearFault(folder, tool);
    await driver.stop(NAME, FORCED, NEVER);
    expect(await leftovers()).toEqual([]);
  });

  it("a kill that does nothing keeps what is known of the guest", async () => {
    await driver.start(guest(NAME), RUNNING, NEVER);
    setFault(folder, "lxc-stop", { answer: { exitCode: 0 } });
    await expect(driver.stop(NAME, FORCED, NEVER)).rejects.toThrow(/said that it killed web1.example/);
    expect(await driver.state(NAME)).toMatchObject({ status: "running" });
  });

  it("tell their version, and how the console is reached", async () => {
    expect(await driver.describe(NEVER)).toEqual({ name: "lxc", version: "5.0.2", accelerated: true });
    setFault(folder, "lxc-start", { answer: { exitCode: 0, stdout: "1.0.6\n" } });
    await expect(driver.describe(NEVER)).rejects.toThrow(/lxc is 1.0.6; 2.1 is the oldest/);
    clearFault(folder, "lxc-start");
    await driver.start(guest(NAME), RUNNING, NEVER);
    expect(await driver.console(NAME)).toMatchObject({ kind: "ssh", command: expect.arrayContaining(["-n", NAME]) });
  });

  it("are not run for a controller that this node has not", async () => {
    await expect(driver.validate(guest(NAME, { extra_cgroups: "no-such-controller" }))).rejects.toThrow(
      /extra_cgroups: this node has no no-such-controller/,
    );
  });
});

describe("a container's configuration", () => {
  const place = { root: "/srv/root", configFile: "/srv/conf", logFile: "/srv/log" };
  const configOf = (spec: GuestSpec, cgroups: "v1" | "v2" = "v2") =>
    lxcConfig({ container: { guest: spec, place }, cgroups, swapCounted: true });
  const bare = (hvparams: GuestSpec["hvparams"] = {}) =>
    bareGuest(NAME, "lxc", { ...HYPERVISOR_DEFAULTS.lxc, devices: "c 1:3 rw,b 8:* r", ...hvparams });

  it("is written for version 2 of control groups", () => {
    const spec = { ...bare({ cpu_mask: "0,2-3", extra_config: "lxc.autodev=1" }), nics: [NIC] };
    expect(configOf(spec)).toBe(`lxc.uts.name = web1.example
lxc.pty.max = 255
lxc.tty.max = 6
lxc.console.logfile = /srv/log.console
lxc.rootfs.path = dir:/srv/root
lxc.hook.stop = /bin/true
lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0
lxc.mount.entry = sysfs sys sysfs nodev,noexec,nosuid 0 0
lxc.cgroup2.cpuset.cpus = 0,2-3
lxc.cgroup2.memory.max = 33554432
lxc.cgroup2.memory.swap.max = 0
lxc.cgroup2.devices.deny = a
lxc.cgroup2.devices.allow = c 1:3 rw
lxc.cgroup2.devices.allow = b 8:* r
lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.hwaddr = aa:00:00:11:22:33
lxc.net.0.flags = up
lxc.cap.drop = mac_override sys_boot sys_module sys_time sys_admin
lxc.autodev=1
`);
  });

  it("is written for version 1", () => {
    expect(configOf(bare(), "v1").split("\n")).toEqual(
      expect.arrayContaining([
        "lxc.cgroup.memory.limit_in_bytes = 33554432",
        "lxc.cgroup.memory.memsw.limit_in_bytes = 33554432",
        "lxc.cgroup.devices.deny = a",
      ]),
    );
  });

  it.each<[GuestSpec, RegExp]>([
    [bare({ devices: "everything" }), /devices: "everything" is not like/],
    [bare({ drop_capabilities: "a b" }), /"a b" is no capability/],
    [bare({ extra_config: "rm -rf /" }), /"rm -rf \/" is not like lxc.key/],
    [{ ...bare(), nics: [{ ...NIC, mode: "routed" }] }, /mode routed cannot be had/],
    [{ ...bare(), nics: [{ ...NIC, link: "a\nb" }] }, /is not the name of an interface/],
  ])("refuses what it cannot hold", (spec, message) => {
    expect(() => configOf(spec)).toThrow(message);
  });
});

describe("a container's end", () => {
  const at = "lxc-start c0 20261123093755.237";
  const started = `${at} NOTICE   start - ../src/lxc/start.c:post_start:2205 - Started "/sbin/init" with pid "28746"\n`;
  const ended = (how: string) =>
    `${at} INFO     error - ../src/lxc/error.c:lxc_error_set_and_log:34 - Child <28746> ended on ${how}\n`;
  const down = `${at} INFO     conf - ../src/lxc/conf.c:run_script_argv:338 - Executing script "/bin/true" for container "c0", config section "lxc"\n`;

  it.each([
    ["its init exits in order", started + down, "shutdown"],
    ["it powers off", started + ended("signal Interrupt(2)") + down, "shutdown"],
    ["it powers off, as an older lxc tells it", started + ended("signal (2)") + down, "shutdown"],
    ["its init fails", started + ended("error (3)") + down, "crashed"],
    ["its init is killed", started + ended("signal Killed(9)") + down, "crashed"],
    ["lxc itself is killed", started, "crashed"],
    ["it is killed after it restarted itself", `${started}${ended("signal Hangup(1)")}${down}${started}`, "crashed"],
    ["it powers off after it restarted itself", started + ended("signal (1)") + down + started + down, "shutdown"],
    ["nothing is known of it", "", "crashed"],
  ] as const)("when %s", (_what, log, status) => {
    expect(containerEnd(log)).toBe(status);
  });

  it("is told of a guest that ends itself, also by an agent that was started anew", async () => {
    await prepare();
    const driver = openDriver();
    await driver.recover();
    await driver.start(guest(NAME), RUNNING, NEVER);
    const base = path.join(node.parts.stateDir, "lxc-hypervisor");
    await writeFile(path.join(base, "log", `${NAME}.log`), started + down);
    const told = new Promise<string>((resolve) => driver.onChange(resolve));
    await crashContainer(folder, path.join(base, "containers"), NAME);
    expect(await driver.state(NAME)).toMatchObject({ status: "shutdown", memoryMib: 0 });
    expect(await told).toBe(NAME);
    await driver.close();
    const next = openDriver();
    await next.recover();
    expect(await next.state(NAME)).toMatchObject({ status: "shutdown" });
    await next.stop(NAME, FORCED, NEVER);
    expect(await leftovers()).toEqual([]);
    await next.close();
    await node.remove();
  });
});

it("containers are told from garbage", () => {
  expect([...parseContainerList("NAME      STATE\nweb1.example RUNNING\nweb2 FROZEN\nweb3 STOPPED \n")]).toEqual([
    ["web1.example", "running"],
    ["web2", "paused"],
  ]);
  expect(parseContainerList("").size).toBe(0);
  for (const text of ["web1\n", "NAME STATE\nweb1\n", "NAME STATE\nweb1 DANCING\n", "NAME STATE\na b RUNNING\n"])
    expect(() => parseContainerList(text)).toThrow(/cannot be read/);
});

describe("control groups", () => {
  let cgroups: string;
  beforeEach(async () => {
    cgroups = await mkdtemp(path.join(tmpdir(), "gannet-cgroups-"));
  });
  afterEach(() => rm(cgroups, { recursive: true }));

  it("of version 2 are told by their list of controllers, and count in microseconds", async () => {
    await writeFile(path.join(cgroups, "cgroup.controllers"), "cpuset cpu io memory pids\n");
    await mkdir(path.join(cgroups, "lxc.payload.web1"));
    await writeFile(path.join(cgroups, "lxc.payload.web1/cpu.stat"), "usage_usec 2500000\nuser_usec 1\n");
    expect(await readCgroups(cgroups)).toEqual({
      version: "v2",
      controllers: ["cpuset", "cpu", "io", "memory", "pids"],
    });
    expect(await containerCpuSeconds("web1", cgroups)).toBe(2.5);
    expect(await containerCpuSeconds("web2", cgroups)).toBe(0);
  });

  it("of version 1 are a folder each, and count in nanoseconds", async () => {
    await mkdir(path.join(cgroups, "cpuacct/lxc/web1"), { recursive: true });
    await writeFile(path.join(cgroups, "cpuacct/lxc/web1/cpuacct.usage"), "1500000000\n");
    expect(await readCgroups(cgroups)).toEqual({ version: "v1", controllers: ["cpuacct"] });
    expect(await containerCpuSeconds("web1", cgroups)).toBe(1.5);
  });
});

describe("a disk's first partition", () => {
  const empty = () => Buffer.alloc(PARTITION_TABLE_BYTES);

  it("is found in a GPT", () => {
    const head = empty();
    head.writeUInt16LE(0xaa55, 510);
    head[450] = 0xee;
    head.write("EFI PART", 512, "latin1");
    head.writeBigUInt64LE(2048n, 1024 + 32);
    head.writeBigUInt64LE(4095n, 1024 + 40);
    expect(firstPartition(head)).toEqual({ offsetBytes: 1024 * 1024, sizeBytes: 1024 * 1024 });
    const bySpan = mountArgv({ path: "/dev/x", kind: "block", access: "ro" }, firstPartition(head), "/m");
    expect(bySpan).toEqual(["/bin/mount", "-o", "ro,loop,offset=1048576,sizelimit=1048576", "--", "/dev/x", "/m"]);
  });

  it("is not seen where there is none", () => {
    expect(firstPartition(empty())).toBeUndefined();
    expect(firstPartition(Buffer.alloc(10))).toBeUndefined();
    expect(mountArgv({ path: "/dev/x", kind: "block", access: "rw" }, undefined, "/m")).toEqual([
      ...["/bin/mount", "-o", "rw", "--", "/dev/x", "/m"],
    ]);
  });
});

it("mount points with blanks are read as they are", () => {
  expect([...mountPoints("36 35 98:0 / /mnt/a\\040b rw,noatime - ext3 /dev/root rw\n")]).toEqual(["/mnt/a b"]);
});
