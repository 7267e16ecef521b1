import { OpPrereqError, TagError } from "@gannet/errors";
import type { GroupUuid, InstanceUse, NewCluster, NodeUuid } from "@gannet/objects";
import {
  addTags,
  allDiskparams,
  checkAdminStateChange,
  checkDeviceName,
  DEFAULT_POLICY,
  DISK_TEMPLATES,
  diskUsageMib,
  drbdVolumesOf,
  ENTITY_SCHEMAS,
  filledBeparams,
  filledHvparams,
  filledNdparams,
  filledNicparams,
  filledOsparams,
  filledPolicy,
  generateMac,
  logicalIdOf,
  newCluster,
  newGroup,
  normalizeHostName,
  normalizeMac,
  parseOsName,
  policyProblems,
  policyViolations,
  promotesItself,
  removeTags,
  roleAfter,
  roleOf,
  withoutGlobals,
} from "@gannet/objects";
import { describe, expect, it } from "vitest";

const NODE = "11111111-1111-4111-8111-111111111111" as NodeUuid;
const OTHER = "22222222-2222-4222-8222-222222222222" as NodeUuid;
const GROUP = "33333333-3333-4333-8333-333333333333" as GroupUuid;
const UNIQUE = "f269b18b-aaf5-4468-b242-f7267f4c0665";

const options: NewCluster = {
  uuid: "44444444-4444-4444-8444-444444444444",
  name: "Cluster.Example.",
  now: 1_795_293_756.5,
  group: { uuid: GROUP },
  node: { uuid: NODE, name: "node1.example", primaryIp: "192.0.2.10" },
  enabledHypervisors: ["kvm", "fake"],
  enabledDiskTemplates: ["file", "diskless"],
};

describe("newCluster", () => {
  const { cluster, node, group } = newCluster(options);

  it("makes rows that the model accepts", () => {
    expect(ENTITY_SCHEMAS.cluster.parse(cluster)).toEqual(cluster);
    expect(ENTITY_SCHEMAS.node.parse(node)).toEqual(node);
    expect(ENTITY_SCHEMAS.nodegroup.parse(group)).toEqual(group);
    expect([cluster.serialNo, node.serialNo, group.serialNo]).toEqual([0, 0, 0]);
  });

  it("has the first node as master", () => {
    expect(cluster).toMatchObject({
      name: "cluster.example",
      masterNode: NODE,
      masterIp: "192.0.2.10",
      masterNetmask: 32,
    });
    expect(node).toMatchObject({ masterCandidate: true, secondaryIp: "192.0.2.10", group: GROUP });
    expect(roleOf(cluster, node)).toBe("M");
  });

  it("takes wider bounds, and none that contradict themselves", () => {
    const [bounds] = DEFAULT_POLICY.minmax;
    if (bounds === undefined) throw new Error("no bounds");
    const minmax = [{ min: { ...bounds.min, "disk-size": 16 }, max: bounds.max }];
    expect(newCluster({ ...options, ipolicy: { minmax } }).cluster.ipolicy).toEqual({ ...DEFAULT_POLICY, minmax });
    const contradiction = [{ min: bounds.max, max: bounds.min }];
    expect(() => newCluster({ ...options, ipolicy: { minmax: contradiction } })).toThrow(/cpu-count minimum 8/);
  });
});

describe("inheritance", () => {
  const { cluster: base, node, group } = newCluster(options);
  const cluster: typeof base = {
    ...base,
    hvparams: { kvm: { vga: "std", cpu_type: "host", migration_port: 9000 } },
    osHvp: { "debian+12": { kvm: { cpu_type: "qemu64", keymap: "de" } } },
    osparams: { debian: { mirror: "a", suite: "sid" }, "debian+12": { suite: "bookworm" } },
    beparams: { ...base.beparams, vcpus: 2 },
    diskparams: { plain: { stripes: 2 } },
  };

  it("goes from built-in over cluster and OS to the instance", () => {
    const instance = { hypervisor: "kvm", os: "debian+12", hvparams: { keymap: "fr" } } as const;
    const filled = filledHvparams(cluster, instance);
    expect(filled).toMatchObject({ acpi: true, vga: "std", cpu_type: "qemu64", keymap: "fr", migration_port: 9000 });
    expect(filledHvparams(cluster, { ...instance, os: "debian" }).cpu_type).toBe("host");
    expect(withoutGlobals(filled)).not.toHaveProperty("migration_port");
    expect(withoutGlobals(filled)).toHaveProperty("migration_downtime");
  });

  it("knows variants for OS parameters", () => {
    const own = { suite: "trixie" };
    expect(filledOsparams(cluster, { os: "debian+12", osparams: {} })).toEqual({ mirror: "a", suite: "bookworm" });
    expect(filledOsparams(cluster, { os: "debian+12", osparams: own })).toEqual({ mirror: "a", suite: "trixie" });
    expect(filledOsparams(cluster, { os: "debian", osparams: {} })).toEqual({ mirror: "a", suite: "sid" });
    expect(filledOsparams(cluster, { os: "", osparams: {} })).toEqual({});
  });

  it("puts a NIC's own values above its network's, and those above the cluster's", () => {
    expect(filledNicparams(cluster, { link: "br1", vlan: ".5" }, { vlan: ".6" })).toEqual({
      mode: "bridged",
      link: "br1",
      vlan: ".6",
    });
  });

  it("fills backend, node, disk parameters and policies", () => {
    expect(filledBeparams(cluster, { beparams: { maxmem: 512 } })).toMatchObject({
      vcpus: 2,
      minmem: 128,
      maxmem: 512,
    });
    const ownGroup = { ...group, ndparams: { ssh_port: 2222 }, diskparams: { plain: { stripes: 3 } } };
    expect(filledNdparams(cluster, ownGroup, { ...node, ndparams: { spindle_count: 9 } })).toMatchObject({
      ssh_port: 2222,
      spindle_count: 9,
      cpu_speed: 1,
    });
    expect(allDiskparams(cluster, null).plain).toEqual({ stripes: 2 });
    expect(allDiskparams(cluster, ownGroup).plain).toEqual({ stripes: 3 });
    expect(Object.keys(allDiskparams(cluster, null)).sort()).toEqual([...DISK_TEMPLATES].sort());
    const policy = filledPolicy(cluster, { ipolicy: { "vcpu-ratio": 9, minmax: [] } });
    expect(policy).toMatchObject({ "vcpu-ratio": 9, minmax: [], std: DEFAULT_POLICY.std });
  });
});

describe("instance policy", () => {
  const use: InstanceUse = {
    memoryMib: 128,
    vcpus: 1,
    diskSizesMib: [1024],
    nicCount: 1,
    spindleUse: 1,
    diskTemplate: "file",
  };

  it("says each violation in one line", () => {
    expect(policyViolations(DEFAULT_POLICY, use)).toEqual([]);
    expect(policyViolations(DEFAULT_POLICY, { ...use, memoryMib: 65_536, diskSizesMib: [2048, 16] })).toEqual([
      "memory-size value 65536 is not in range [128, 32768]",
      "disk-size/1 value 16 is not in range [1024, 1048576]",
    ]);
  });

  it("does not ask diskless instances for disks", () => {
    const diskless = { ...use, diskTemplate: "diskless", diskSizesMib: [] } as const;
    expect(policyViolations(DEFAULT_POLICY, diskless)).toEqual([]);
    expect(policyViolations(DEFAULT_POLICY, { ...use, diskSizesMib: [] })).toEqual([
      "disk-count value 0 is not in range [1, 16]",
    ]);
  });

  it("is content with any of several bounds, and else names those missed least", () => {
    const [small] = DEFAULT_POLICY.minmax;
    if (small === undefined) throw new Error("no bounds");
    const large = {
      min: { ...small.min, "memory-size": 65_536, "cpu-count": 16 },
      max: { ...small.max, "memory-size": 131_072, "cpu-count": 64 },
    };
    const policy = { ...DEFAULT_POLICY, minmax: [small, large] };
    expect(policyViolations(policy, { ...use, memoryMib: 65_536, vcpus: 16 })).toEqual([]);
    expect(policyViolations(policy, { ...use, memoryMib: 40_000, vcpus: 16 })).toEqual([
      "memory-size value 40000 is not in range [65536, 131072]",
    ]);
  });

  it("names a template that is not allowed", () => {
    const policy = { ...DEFAULT_POLICY, "disk-templates": ["diskless" as const] };
    expect(policyViolations(policy, use)).toEqual(["disk template file is not among the allowed: diskless"]);
  });

  it("finds policies that nothing could satisfy", () => {
    expect(policyProblems(DEFAULT_POLICY)).toEqual([]);
    const std = { ...DEFAULT_POLICY.std, "disk-size": 1 };
    expect(policyProblems({ ...DEFAULT_POLICY, std, "disk-templates": [], "vcpu-ratio": 0 })).toHaveLength(3);
    expect(policyProblems({ ...DEFAULT_POLICY, minmax: [] })).toEqual([
      "minmax is empty: give at least one pair of bounds",
    ]);
  });
});

describe("names", () => {
  it.each(["web1.gannet.test", "WEB1.", "a_b", "1.2.3.4"])("takes %s as a host name", (name) => {
    expect(normalizeHostName(name)).toBe(name.toLowerCase().replace(/\.$/, ""));
  });

  it.each([
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a/b",
    "-rf",
    "a-",
    "a b",
    "a\u0000b",
    "ä.test",
    "a".repeat(64),
    `${"ab.".repeat(100)}x`,
  ])("refuses %j as a host name", (name) => {
    expect(() => normalizeHostName(name)).toThrow(OpPrereqError);
  });

  it("splits OS names and keeps paths out of them", () => {
    expect(parseOsName("debian+12")).toEqual({ name: "debian", variant: "12" });
    expect(parseOsName("noop")).toEqual({ name: "noop", variant: null });
    for (const name of ["../x", "a/b", "a+", "+b", "", ".hidden", "a+../b", "-o"])
      expect(() => parseOsName(name), name).toThrow(OpPrereqError);
  });

  it("keeps device names apart from indices and UUIDs", () => {
    expect(() => checkDeviceName("data")).not.toThrow();
    for (const name of ["0", "-1", "", UNIQUE, "a b", "x".repeat(129)])
      expect(() => checkDeviceName(name), name).toThrow(OpPrereqError);
  });
});

describe("tags", () => {
  it("are a sorted set", () => {
    expect(addTags(["red"], ["owner:bob", "red", "a.b+c*/:@-"])).toEqual(["a.b+c*/:@-", "owner:bob", "red"]);
    expect(removeTags(["a", "b", "c"], ["b"])).toEqual(["a", "c"]);
    expect(() => removeTags(["a"], ["b"])).toThrow(/not found: b/);
  });

  it.each(["", "a b", "a\n", "x".repeat(129), "ü"])("refuses %j", (tag) => {
    expect(() => addTags([], [tag])).toThrow(TagError);
  });

  it("are not endless", () => {
    const many = Array.from({ length: 4096 }, (_, index) => `t${index}`);
    expect(addTags(many, ["t0"])).toHaveLength(4096);
    expect(() => addTags(many, ["one-more"])).toThrow(TagError);
  });
});

describe("MAC addresses", () => {
  it("have one form", () => {
    expect(normalizeMac("AA:00:00:1B:2C:3D")).toBe("aa:00:00:1b:2c:3d");
    for (const mac of ["aa:00:00:00:00", "aa-00-00-00-00-00", "01:00:00:00:00:00", "aa:00:00:00:00:0g", "auto"])
      expect(() => normalizeMac(mac), mac).toThrow(OpPrereqError);
  });

  it("are generated until one is free", () => {
    const bytes = [Uint8Array.of(0, 0, 1), Uint8Array.of(0, 0, 2), Uint8Array.of(0, 0xff, 3)];
    const taken = new Set(["aa:00:00:00:00:01", "aa:00:00:00:00:02"]);
    const next = () => bytes.shift() ?? Uint8Array.of(0, 0, 1);
    expect(generateMac("aa:00:00", (mac) => taken.has(mac), next)).toBe("aa:00:00:00:ff:03");
    expect(() => generateMac("aa:00:00", (mac) => taken.has(mac), next)).toThrow(/No free MAC/);
  });
});

describe("disks", () => {
  it("are named as Ganeti names them", () => {
    expect(logicalIdOf({ template: "file", driver: "loop", directory: "/srv/f/inst1" }, UNIQUE, 0)).toEqual([
      "loop",
      `/srv/f/inst1/${UNIQUE}.file.disk0`,
    ]);
    expect(logicalIdOf({ template: "plain", volumeGroup: "xenvg" }, UNIQUE, 2)).toEqual(["xenvg", `${UNIQUE}.disk2`]);
    expect(logicalIdOf({ template: "rbd" }, UNIQUE, 1)).toEqual(["rbd", `${UNIQUE}.rbd.disk1`]);
    const drbd = { template: "drbd", nodes: [NODE, OTHER], port: 11_000, minors: [0, 3], secret: "s" } as const;
    expect(logicalIdOf(drbd, UNIQUE, 0)).toEqual([NODE, OTHER, 11_000, 0, 3, "s"]);
    expect(drbdVolumesOf({ data: "vg1", metadata: "vg2" }, UNIQUE, 0)).toEqual({
      data: ["vg1", `${UNIQUE}.disk0_data`],
      metadata: ["vg2", `${UNIQUE}.disk0_meta`],
    });
  });

  it("use what they use", () => {
    expect(diskUsageMib("drbd", 1024)).toBe(1152);
    expect(diskUsageMib("file", 16)).toBe(16);
    expect(diskUsageMib("blockdev", 1024)).toBe(0);
  });
});

describe("node roles", () => {
  const cluster = { masterNode: NODE };
  const flags = { masterCandidate: false, drained: false, offline: false };
  const node = { uuid: OTHER, name: "node2", masterCapable: true, ...flags };

  it.each([
    [flags, { drained: true }, "D"],
    [{ ...flags, drained: true }, { offline: true }, "O"],
    [{ ...flags, drained: true }, { masterCandidate: true }, "C"],
    [{ ...flags, offline: true }, { offline: false }, "R"],
    [{ ...flags, offline: true }, { drained: false }, "O"],
    [{ ...flags, masterCandidate: true }, { masterCandidate: false, drained: false, offline: false }, "R"],
    [{ ...flags, masterCandidate: true }, {}, "C"],
    [{ ...flags, drained: true }, { drained: false, masterCandidate: true }, "C"],
  ] as const)("%j with %j becomes %s", (now, change, role) => {
    expect(roleAfter(cluster, { ...node, ...now }, change)).toBe(role);
  });

  it("refuses what cannot be", () => {
    expect(() => roleAfter(cluster, node, { drained: true, offline: true })).toThrow(/one flag/);
    expect(() => roleAfter(cluster, { ...node, uuid: NODE }, { drained: true })).toThrow(/failover/);
    expect(() => roleAfter(cluster, { ...node, masterCapable: false }, { masterCandidate: true })).toThrow(/capable/);
  });

  it("promotes a returning node while candidates are few", () => {
    const back = { from: "O", to: "R", gainsMasterCapable: false } as const;
    expect(promotesItself(back, 3, 10)).toBe(true);
    expect(promotesItself(back, 10, 10)).toBe(false);
    expect(promotesItself({ ...back, from: "C" }, 3, 10)).toBe(false);
    expect(promotesItself({ ...back, from: "R", gainsMasterCapable: true }, 3, 10)).toBe(true);
  });

  it("gives a new group Ganeti's policy of allocation", () => {
    expect(newGroup(GROUP, "g2", 1).allocPolicy).toBe("preferred");
  });
});

describe("admin states", () => {
  it("go offline only from down", () => {
    expect(() => checkAdminStateChange("inst1", "down", "offline")).not.toThrow();
    expect(() => checkAdminStateChange("inst1", "up", "up")).not.toThrow();
    expect(() => checkAdminStateChange("inst1", "up", "offline")).toThrow(/inst1 is up .* shut it down first/);
    expect(() => checkAdminStateChange("inst1", "offline", "up")).toThrow(/bring it online/);
  });
});
