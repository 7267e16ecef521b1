/** OP_CLUSTER_SET_PARAMS: what it sets, what it refuses with which reasons, and what takes effect at once. */
import { NodeUnreachable } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const MODIFY = "OP_CLUSTER_SET_PARAMS";

let bed: LogicalUnitBed;
let fresh: LogicalUnitBed["view"]["cluster"];
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: "web1.gnt.test", mode: "create", disk_template: "plain", disks: [{ size: 1024 }] },
    ...{ os_type: "noop", pnode: NODE1, hypervisor: "fake", start: false, nics: [{}], beparams: { maxmem: 512 } },
  });
  fresh = bed.view.cluster;
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  const { serialNo, mtime } = bed.view.cluster;
  await bed.setCluster({ ...fresh, serialNo, mtime });
  bed.nodes.failures = [];
  bed.nodes.calls.length = 0;
});

const modify = (params: Readonly<Record<string, unknown>>) => bed.succeed(MODIFY, params);
const refusal = async (params: Readonly<Record<string, unknown>>) => (await bed.run(MODIFY, params)).result;

test("nothing asked for is nothing changed, and no error", async () => {
  expect((await modify({})).result).toBe(null);
  expect(bed.view.cluster).toMatchObject({ ...fresh, serialNo: expect.any(Number), mtime: expect.any(Number) });
});

test("settings that stand as they are given", async () => {
  await modify({
    ...{ max_running_jobs: 7, max_tracked_jobs: 9, maintain_node_health: true, prealloc_wipe_disks: true },
    ...{ mac_prefix: "AA:BB:cc", master_netdev: "br1", master_netmask: 24, reserved_lvs: ["xenvg/root"] },
    ...{ default_iallocator: "hail", default_iallocator_params: { "ignore-dynu": "" }, use_external_mip_script: true },
    ...{ install_image: "http://images.test/x", zeroing_image: "/srv/zero", compression_tools: ["gzip", "lzop"] },
    ...{ enabled_user_shutdown: true, gluster_storage_dir: "/srv/gluster", modify_etc_hosts: false },
    ...{ enabled_data_collectors: { drbd: false }, data_collector_interval: { lv: 7_000_000 } },
  });
  expect(bed.view.cluster).toMatchObject({
    ...{ maxRunningJobs: 7, maxTrackedJobs: 9, maintainNodeHealth: true, preallocWipeDisks: true },
    ...{ macPrefix: "aa:bb:cc", masterNetdev: "br1", masterNetmask: 24, reservedLvs: ["xenvg/root"] },
    ...{ defaultIallocator: "hail", defaultIallocatorParams: { "ignore-dynu": "" }, useExternalMipScript: true },
    ...{ installImage: "http://images.test/x", zeroingImage: "/srv/zero", compressionTools: ["gzip", "lzop"] },
    ...{ enabledUserShutdown: true, glusterStorageDir: "/srv/gluster" },
    dataCollectors: { drbd: { active: false, interval: 5_000_000 }, lv: { active: true, interval: 7_000_000 } },
  });
});

test("a default allocator is ours, none, or a program of the master's node", async () => {
  const problems = [{ check: "allocator", item: "ours", problem: "There is no allocator ours" }];
  bed.nodes.named(NODE2).verification.problems = problems;
  await modify({ default_iallocator: "ours" });
  expect(bed.view.cluster.defaultIallocator).toBe("ours");
  bed.nodes.named(NODE1).verification.problems = problems;
  const refused = await refusal({ default_iallocator: "ours", force: true });
  await modify({ default_iallocator: "hail" });
  await modify({ default_iallocator: "" });
  for (const node of bed.nodes.all()) node.verification.problems = [];
  expect(refused).toEqual(["OpPrereqError", [expect.stringMatching(/default iallocator 'ours'/), "wrong_input"]]);
  expect(bed.view.cluster.defaultIallocator).toBe("");
});

test("parameters of every kind: set, inherited, and given back with 'default'", async () => {
  await modify({
    hvparams: { kvm: { kernel_args: "quiet", acpi: "false" } },
    os_hvp: { noop: { fake: { migration_mode: "non-live" } } },
    osparams: { "debian+trixie": { mirror: "http://a.test" } },
    osparams_private_cluster: { debian: { token: "hidden-word" } },
    beparams: { memory: "256", vcpus: "2" },
    nicparams: { link: "br7" },
    ndparams: { spindle_count: 4 },
    diskparams: { drbd: { "resync-rate": 2048 } },
    ipolicy: { "vcpu-ratio": "8.5", std: { "memory-size": "1g" } },
    hv_state: { kvm: { mem_hv: 64 } },
    disk_state: { plain: { xenvg: { disk_reserved: 5 } } },
  });
  expect(bed.view.cluster).toMatchObject({
    hvparams: { kvm: { kernel_args: "quiet", acpi: false } },
    osHvp: { noop: { fake: { migration_mode: "non-live" } } },
    osparams: { "debian+trixie": { mirror: "http://a.test" } },
    osparamsPrivate: { debian: { token: "hidden-word" } },
    beparams: { minmem: 256, maxmem: 256, vcpus: 2, auto_balance: true },
    nicparams: { link: "br7", mode: "bridged" },
    ndparams: { spindle_count: 4, ssh_port: 22 },
    diskparams: { drbd: { "resync-rate": 2048 } },
    ipolicy: { "vcpu-ratio": 8.5, std: { "memory-size": 1024, "cpu-count": 1 }, "spindle-ratio": 32 },
    hvState: { kvm: { mem_hv: 64 } },
    diskState: { plain: { xenvg: { disk_reserved: 5 } } },
  });
  await modify({
    hvparams: { kvm: { kernel_args: "default" } },
    os_hvp: { noop: { fake: { migration_mode: "default" } } },
    osparams: { "debian+trixie": { mirror: "default" } },
    diskparams: { drbd: { "resync-rate": "default" } },
    nicparams: { link: "default" },
  });
  expect(bed.view.cluster.hvparams.kvm).toEqual({ acpi: false });
  expect(bed.view.cluster).toMatchObject({
    osHvp: {},
    osparams: {},
    diskparams: { drbd: {} },
    nicparams: fresh.nicparams,
  });
  expect(bed.view.cluster.osHvp).toEqual({});
});

test("the user ids of guests: set, added, removed", async () => {
  await modify({
    uid_pool: [
      [5000, 5010],
      [4000, 4000],
    ],
  });
  expect(bed.view.cluster.uidPool).toEqual([
    [4000, 4000],
    [5000, 5010],
  ]);
  await modify({ add_uids: [[6000, 6001]], remove_uids: [[4000, 4000]] });
  expect(bed.view.cluster.uidPool).toEqual([
    [5000, 5010],
    [6000, 6001],
  ]);
  expect(await refusal({ add_uids: [[5005, 5020]] })).toEqual([
    "OpPrereqError",
    [expect.stringMatching(/overlap/), "wrong_input"],
  ]);
  expect(await refusal({ remove_uids: [[5000, 5005]] })).toEqual([
    "OpPrereqError",
    [expect.stringMatching(/no range 5000-5005/), "wrong_input"],
  ]);
  expect(await refusal({ uid_pool: [[0, 10]] })).toEqual(["OpPrereqError", [expect.any(String), "wrong_input"]]);
});

test("hidden and blacklisted OSes: what is there already, or is not, is told", async () => {
  await modify({
    hidden_os: [
      ["add", "debian+trixie"],
      ["add", "noop"],
    ],
    blacklisted_os: [["add", "noop"]],
  });
  const job = await modify({
    hidden_os: [
      ["add", "noop"],
      ["remove", "debian+trixie"],
    ],
    blacklisted_os: [["remove", "x"]],
  });
  expect(bed.view.cluster).toMatchObject({ hiddenOs: ["noop"], blacklistedOs: ["noop"] });
  expect(job.log.join(" ")).toMatch(/noop is already in hidden_os.*x is not in blacklisted_os/);
});

test("a larger candidate pool promotes regular nodes", async () => {
  await bed.setNode(NODE2, { masterCandidate: false });
  const job = await modify({ candidate_pool_size: 3 });
  expect(bed.view.findNode(NODE2)).toMatchObject({ masterCandidate: true });
  expect(job.log.join("\n")).toContain(`Promoted to master candidates: ${NODE2}`);
  expect((await modify({ candidate_pool_size: 1 })).log.join("\n")).toMatch(/More nodes are master candidates \(3\)/);
  expect(bed.view.findNode(NODE2)).toMatchObject({ masterCandidate: true });
});

test("a network for communication between guests and nodes is made and connected", async () => {
  await modify({ instance_communication_network: "talk" });
  const network = bed.view.findNetwork("talk");
  expect(network).toMatchObject({ network: "169.254.0.0/16", network6: "fe80::/64", macPrefix: "52:54:00" });
  for (const group of bed.view.groups.values())
    expect(group.networks[network?.uuid ?? ""]).toMatchObject({ mode: "routed" });
  await modify({ instance_communication_network: "talk" });
  expect([...bed.view.networks.values()]).toHaveLength(1);
  await bed.succeed("OP_GROUP_ADD", { group_name: "later" });
  expect(bed.view.findGroup("later")?.networks[network?.uuid ?? ""]).toMatchObject({ mode: "routed" });
});

describe("a change that would break what there is", () => {
  test.each([
    [{ enabled_hypervisors: ["kvm"] }, /hypervisor fake: it is used by web1/],
    [{ enabled_disk_templates: ["file"] }, /disk template plain: it is used by web1/],
    [{ vg_name: "" }, /Disk template plain is enabled and needs a volume group.*template drbd/],
    [{ vg_name: "", enabled_disk_templates: ["file"] }, /There are disks of template plain.*used by web1/],
    [{ drbd_helper: "" }, /drbd is enabled and needs a usermode helper/],
    [{ file_storage_dir: "" }, /file is enabled/],
    [{ shared_file_storage_dir: "" }, /sharedfile is enabled/],
    [{ beparams: { minmem: 1024, maxmem: 2048 } }, /Instance web1.gnt.test: minmem 1024 is more than maxmem 512/],
    [{ nicparams: { mode: "routed", link: "100" } }, /web1.gnt.test, nic\/0: A NIC in mode routed needs an IP address/],
    [{ vg_name: "nosuch" }, /node1.*no volume group nosuch.*node2.*no volume group/],
    [{ drbd_helper: "/bin/false" }, /usermode helper is '\/bin\/true', not '\/bin\/false'/],
  ])("is refused: %j", async (params, reason) => {
    const before = bed.view.cluster;
    expect(await refusal(params)).toEqual(["OpPrereqError", [expect.stringMatching(reason), "wrong_state"]]);
    expect(bed.view.cluster).toEqual(before);
  });

  test("all reasons are told together", async () => {
    const [, [text]] = (await refusal({ enabled_hypervisors: ["kvm"], file_storage_dir: "" })) as [string, [string]];
    expect(text).toMatch(/used by web1/);
    expect(text).toMatch(/file_storage_dir/);
  });

  test("what nodes say of parameters counts, unless it was so before or is forced", async () => {
    const problem = new Error("/boot/none does not exist");
    bed.nodes.failures = [{ node: NODE2, method: "instances.validate", error: problem, times: 1 }];
    const change = { hvparams: { kvm: { kernel_path: "/boot/none" } } };
    expect(await refusal(change)).toEqual([
      "OpPrereqError",
      [expect.stringMatching(/Node node2.gnt.test: parameters of kvm: \/boot\/none does not exist/), "wrong_state"],
    ]);
    bed.nodes.failures = [{ node: NODE2, method: "instances.validate", error: problem }];
    await modify(change);
    bed.nodes.failures = [{ node: NODE2, method: "instances.validate", error: problem, times: 1 }];
    const forced = await modify({ ...change, force: true });
    expect(forced.log.join("\n")).toContain("WARNING: Node node2.gnt.test: parameters of kvm");
  });

  test("OS parameters are asked of the nodes that have the OS", async () => {
    bed.nodes.failures = [{ node: NODE1, method: "os.validate", error: new Error("mirror is no URL") }];
    expect(await refusal({ osparams: { noop: { mirror: "x" } } })).toEqual([
      "OpPrereqError",
      [expect.stringMatching(/Node node1.gnt.test: parameters of OS noop: mirror is no URL/), "wrong_state"],
    ]);
    await modify({ osparams: { nosuch: { mirror: "x" } } });
    expect(bed.view.cluster.osparams).toEqual({ nosuch: { mirror: "x" } });
  });

  test("a node that cannot be reached is told of and holds nothing up", async () => {
    bed.nodes.failures = [{ node: NODE2, method: "node.describe", error: new NodeUnreachable(NODE2, "no answer") }];
    const job = await modify({ vg_name: "fast" });
    expect(bed.view.cluster.volumeGroupName).toBe("fast");
    expect(job.log.join("\n")).toContain("WARNING: Node node2.gnt.test was not asked: no answer");
  });

  test("new violations of the policy are warnings", async () => {
    const { minmax } = fresh.ipolicy;
    const max = { ...minmax[0]?.max, "memory-size": 256 };
    const job = await modify({ ipolicy: { minmax: [{ min: minmax[0]?.min, max }] } });
    expect(job.log.join("\n")).toMatch(
      /WARNING: Instance web1.gnt.test violates the new policy: memory-size value 512/,
    );
    expect((await modify({ ipolicy: { "vcpu-ratio": 3 } })).log.join("\n")).not.toContain("violates");
  });
});

describe("what cannot be is refused", () => {
  const bounds = {
    "cpu-count": 1,
    "disk-count": 1,
    "disk-size": 1,
    "memory-size": 1,
    "nic-count": 1,
    "spindle-use": 1,
  };
  test.each([
    [{ ipolicy: { nosuch: 1 } }, /unknown key 'nosuch'/],
    [{ ipolicy: { minmax: "default" } }, /cannot be without minmax/],
    [{ ipolicy: { minmax: [] } }, /minmax is empty/],
    [{ ipolicy: { minmax: [{ min: { ...bounds, "cpu-count": 2 }, max: bounds }] } }, /cpu-count minimum 2 is above/],
    [{ ipolicy: { minmax: [{ min: bounds }] } }, /ipolicy: minmax\/0\/max/],
    [{ ipolicy: { "vcpu-ratio": 0 } }, /vcpu-ratio must be above 0/],
    [{ ipolicy: { std: { "cpu-count": 99 } } }, /std is outside all bounds/],
    [
      { ipolicy: { "disk-templates": ["plain"] }, enabled_disk_templates: ["plain"], vg_name: "" },
      /plain is enabled and needs/,
    ],
    [{ enabled_disk_templates: ["plain", "file"], ipolicy: { "disk-templates": ["drbd"] } }, /not enabled: drbd/],
    [{ beparams: { minmem: 512, maxmem: 128 } }, /minmem 512 is more than maxmem 128/],
    [{ hvparams: { kvm: { disk_cache: "sometimes" } } }, /disk_cache/],
    [{ os_hvp: { noop: { kvm: { security_model: "user" } } } }, /security_domain/],
    [{ nicparams: { mode: "nosuch" } }, /mode/],
    [{ ndparams: { ssh_port: 0 } }, /ssh_port/],
    [{ diskparams: { drbd: { protocol: "X" } } }, /protocol/],
    [{ disk_state: { file: {} } }, /storage 'file'/],
    [{ hv_state: { nosuch: {} } }, /unknown hypervisor 'nosuch'/],
    [{ master_netmask: 33 }, /between 1 and 32/],
    [{ install_image: "relative" }, /absolute path or a URL/],
    [{ hidden_os: [["attach", "noop"]] }, /added or removed/],
    [{ enabled_data_collectors: { nosuch: true } }, /'nosuch' is not known/],
    [{ data_collector_interval: { lv: 0 } }, /above 0/],
    [{ mac_prefix: "01:00:00" }, /MAC prefix/],
    [{ reserved_lvs: ["xenvg/("] }, /expression/],
    [{ master_netmask: 33, mac_prefix: "01:00:00" }, /netmask.*MAC prefix/],
  ])("%j", async (params, reason) => {
    const result = (await refusal(params)) as [string, [string, string]];
    expect(result).toEqual([
      "OpPrereqError",
      [expect.stringMatching(reason), expect.stringMatching(/^wrong_(input|state)$/)],
    ]);
  });

  test.each([
    { hvparams: { kvm: { nosuch: 1 } } },
    { beparams: { vcpus: "many" } },
    { nicparams: { ip: "192.0.2.1" } },
  ])("%j, as an error of types", async (params) => {
    expect(await refusal(params)).toEqual(["TypeEnforcementError", [expect.any(String)]]);
  });
});
