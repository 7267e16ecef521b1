/** Verification of groups: each fault under its code, and nothing else. */
import assert from "node:assert/strict";
import { NodeUnreachable } from "@gannet/errors";
import type { CheckAddressesRequest, VerifyNodeRequest } from "@gannet/rpc";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { guest } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES } from "./logical-unit-bed.ts";
import type { ScriptedNode } from "./scripted-node.ts";
import { changeInstance, DB, heal, startVerifiedCluster, told, WEB } from "./verified-cluster.ts";

const [NODE1, NODE2, NODE3] = NODES;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startVerifiedCluster();
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(() => heal(bed));

const verifyGroup = (more: object = {}) =>
  bed.succeed("OP_CLUSTER_VERIFY_GROUP", { group_name: "default", error_codes: true, ...more });
const node = (name: string): ScriptedNode => bed.nodes.named(name);
const DAY_MS = 24 * 60 * 60 * 1000;
const problem = (check: string, item: string) => ({ check, item, problem: "it is broken" });

/** Volumes below an instance's DRBD disks. */
const halvesOf = (name: string) =>
  bed.disks(name).flatMap(({ children }) => children.map(({ logicalId }) => logicalId.join("/")));

describe("OP_CLUSTER_VERIFY", () => {
  test("submits a job for the configuration and then one for each group, which find nothing", async () => {
    const { result } = await bed.succeed("OP_CLUSTER_VERIFY", { verbose: true });
    const { jobs } = result as { jobs: [boolean, number][] };
    expect(jobs).toHaveLength(2);
    const [config, group] = await Promise.all(jobs.map(([, id]) => bed.ended(id)));
    expect(config?.opcodes[0]).toMatchObject({ input: { OP_ID: "OP_CLUSTER_VERIFY_CONFIG" }, result: true });
    expect(group?.opcodes[0]).toMatchObject({
      input: { OP_ID: "OP_CLUSTER_VERIFY_GROUP", group_name: "default", depends: [[config?.id, []]] },
      result: true,
    });
    const log = group?.opcodes[0]?.log.map(([, , , text]) => String(text)) ?? [];
    expect(told(log)).toEqual([]);
    expect(log).toEqual(
      expect.arrayContaining([
        "* Verifying group 'default'",
        "* Gathering data (3 nodes)",
        `* Verifying node ${NODE1} (master)`,
        `* Verifying instance ${WEB}`,
        "* Verifying N+1 Memory redundancy",
        "  - NOTICE: 1 non-redundant instance(s) found.",
      ]),
    );
  });

  test("verifies one group alone, and no other than there is", async () => {
    const { result } = await bed.succeed("OP_CLUSTER_VERIFY", { group_name: "default" });
    expect((result as { jobs: unknown[] }).jobs).toHaveLength(1);
    const unknown = await bed.run("OP_CLUSTER_VERIFY", { group_name: "nosuch" });
    expect(unknown.result).toEqual(["OpPrereqError", [expect.any(String), "unknown_entity"]]);
  });
});

describe("OP_CLUSTER_VERIFY_GROUP finds", () => {
  interface Fault {
    readonly name: string;
    readonly cause: () => unknown;
    readonly undo?: () => unknown;
    readonly told: readonly (string | RegExp)[];
    /** Whether the verification finds warnings alone. */
    readonly isClean?: boolean;
  }
  const faults: readonly Fault[] = [
    {
      name: "a node that does not answer",
      cause: () => {
        bed.nodes.failures = [{ node: NODE3, method: "node.verify", error: new NodeUnreachable(NODE3, "no answer") }];
      },
      told: [`ERROR:ENODERPC:node:${NODE3}:while contacting node: no answer`],
    },
    {
      name: "another version, a wrong clock, a broken set-up",
      cause: () => {
        node(NODE3).verification = {
          ...{ digests: [], certificates: [], siteFiles: [], agentVersion: "9.9.9", clockMs: Date.now() - 400_000 },
          problems: [problem("node-setup", "/proc"), problem("bridge", "br0"), problem("executable", "/oob")],
        };
      },
      told: [
        /^ERROR:ENODEVERSION:node:node3.*node 9.9.9/,
        /^ERROR:ENODETIME:node:node3.*diverges by at least (399|400)\.\ds/,
        `ERROR:ENODESETUP:node:${NODE3}:node setup error /proc: it is broken`,
        `ERROR:ENODENET:node:${NODE3}:missing bridge br0: it is broken`,
        `ERROR:ENODEOOBPATH:node:${NODE3}:Invalid OOB path /oob: it is broken`,
      ],
    },
    {
      name: "hypervisors and folders that cannot be used, but for hypervisors that are not enabled",
      cause: () => {
        node(NODE1).verification.problems = [
          problem("hypervisor", "kvm"),
          problem("hypervisor", "xen-pvm"),
          problem("file-storage", "/srv/ganeti/file-storage"),
          problem("file-storage", "/srv/ganeti/shared-file-storage"),
        ];
      },
      told: [
        `ERROR:ENODEHV:node:${NODE1}:hypervisor verify failure kvm: it is broken`,
        /^ERROR:ENODEFILESTORAGEPATHUNUSABLE:node:node1/,
        /^ERROR:ENODESHAREDFILESTORAGEPATHUNUSABLE:node:node1/,
      ],
    },
    {
      name: "folders that may never hold disks, a Gluster folder, and a site's script, that cannot be used",
      cause: () => {
        node(NODE2).verification.problems = [
          problem("file-storage-root", "/etc/disks"),
          problem("file-storage", "/var/run/ganeti/gluster"),
          problem("user-script", "/etc/ganeti/scripts/master-ip-setup"),
          problem("file", "/etc/ganeti/vnc-cluster-password"),
        ];
      },
      told: [
        `ERROR:ENODEFILESTORAGEPATHS:node:${NODE2}:Found forbidden file storage path /etc/disks: it is broken`,
        /^ERROR:ENODEGLUSTERSTORAGEPATHUNUSABLE:node:node2/,
        /^ERROR:ENODEUSERSCRIPTS:node:node2.*master-ip-setup: it is broken/,
        `ERROR:ENODEFILECHECK:node:${NODE2}:/etc/ganeti/vnc-cluster-password: it is broken`,
      ],
    },
    {
      name: "certificates of agents that end soon, have ended, or cannot be read",
      cause: () => {
        const certificate = (path: string, days: number, problem = "") => ({
          ...{ path, problem, notBeforeMs: Date.now() - DAY_MS },
          notAfterMs: Date.now() + days * DAY_MS + DAY_MS / 2,
        });
        node(NODE1).verification.certificates = [certificate("cert.pem", 31), certificate("ca.pem", 20)];
        node(NODE2).verification.certificates = [
          ...[certificate("cert.pem", -1), certificate("ca.pem", 7), certificate("spice.pem", 0, "EACCES")],
          { ...certificate("late.pem", 99), notBeforeMs: Date.now() + DAY_MS },
        ];
      },
      told: [
        `WARNING:ECLUSTERCLIENTCERT:cluster::node ${NODE1}: while verifying ca.pem: Certificate expires in about 20 days`,
        /^ERROR:ECLUSTERCLIENTCERT:cluster::node node2.*cert.pem: Certificate is expired \(valid from .* to .*\)/,
        `ERROR:ECLUSTERCLIENTCERT:cluster::node ${NODE2}: while verifying ca.pem: Certificate expires in about 7 days`,
        /^ERROR:ECLUSTERCLIENTCERT:cluster::node node2.*spice.pem: it cannot be read \(EACCES\)/,
        /^WARNING:ECLUSTERCLIENTCERT:cluster::node node2.*late.pem: Certificate not yet valid/,
      ],
    },
    {
      name: "files that differ, and files that only some nodes have",
      cause: async () => {
        await bed.setCluster({ hvparams: { kvm: { vnc_password_file: "/etc/vnc-password" } } });
        const vnc = (sha256: string) => [{ path: "/etc/vnc-password", sha256 }];
        node(NODE1).verification.digests = vnc("aa");
        node(NODE2).verification.digests = vnc("bb");
        for (const name of NODES)
          node(name).verification.siteFiles = [
            { path: "same", sha256: "cc" },
            { path: "nowhere", sha256: "" },
            { path: "kvm-vif-bridge", sha256: name === NODE3 ? "" : "dd" },
          ];
      },
      undo: () => bed.setCluster({ hvparams: {} }),
      told: [
        `ERROR:ECLUSTERFILECHECK:cluster::File /etc/vnc-password is optional, but it must exist on all or no nodes (not found on ${NODE3})`,
        `ERROR:ECLUSTERFILECHECK:cluster::File /etc/vnc-password found with 2 different checksums (variant 1 on ${NODE1}; variant 2 on ${NODE2})`,
        /^ERROR:ECLUSTERFILECHECK:cluster::File kvm-vif-bridge is optional.*not found on node3/,
      ],
    },
    {
      name: "hooks that fail, or are not run",
      cause: () => {
        node(NODE1).hooks = ({ path, phase }) =>
          path === "cluster-verify" && phase === "post"
            ? [{ script: "cluster-verify-post.d/10-quota", status: "fail", output: "the quota is used up" }]
            : [];
        bed.nodes.failures = [{ node: NODE3, method: "node.runHooks", error: new NodeUnreachable(NODE3, "no answer") }];
      },
      undo: () => {
        node(NODE1).hooks = () => [];
      },
      told: [
        `ERROR:ENODEHOOKS:node:${NODE1}:Script cluster-verify-post.d/10-quota failed, output: the quota is used up`,
        /^ERROR:ENODEHOOKS:node:node3.*Communication failure in hooks execution: .*no answer/,
      ],
    },
    {
      name: "nodes that do not reach each other",
      cause: () => bed.nodes.silent.add("192.0.2.3"),
      told: [
        `ERROR:ENODENET:node:${NODE1}:tcp communication fails with nodes ${NODE3}`,
        `ERROR:ENODENET:node:${NODE2}:tcp communication fails with nodes ${NODE3}`,
      ],
    },
    {
      name: "a network for replication that is down",
      cause: () => bed.nodes.silent.add("198.51.100.3"),
      told: [
        `ERROR:ENODENET:node:${NODE1}:tcp communication over the secondary network fails with nodes ${NODE3}`,
        `ERROR:ENODENET:node:${NODE2}:tcp communication over the secondary network fails with nodes ${NODE3}`,
      ],
    },
    {
      name: "what a DRBD disk has left on a node that was its secondary",
      cause: () => {
        for (const id of halvesOf(WEB))
          node(NODE3).volumes.set(id, { owner: undefined, sizeMib: 1, inUse: false, contents: "" });
      },
      undo: () => node(NODE3).volumes.clear(),
      told: [
        /^WARNING:ENODEORPHANLV:node:node3.*volume xenvg\/.*_data is unknown/,
        /^WARNING:ENODEORPHANLV:node:node3.*volume xenvg\/.*_meta is unknown/,
      ],
      isClean: true,
    },
    {
      name: "a volume group that is gone, and volumes that are nobody's",
      cause: () => {
        node(NODE3).groups.delete("xenvg");
        for (const name of ["stray", "keep-1"])
          node(NODE3).volumes.set(`xenvg/${name}`, { owner: undefined, sizeMib: 1, inUse: false, contents: "" });
        return bed.setCluster({ reservedLvs: ["xenvg/keep-.*"] });
      },
      undo: () => {
        node(NODE3).groups.set("xenvg", 10_000);
        node(NODE3).volumes.clear();
      },
      told: [
        `ERROR:ENODELVM:node:${NODE3}:volume group 'xenvg' missing`,
        `WARNING:ENODEORPHANLV:node:${NODE3}:volume xenvg/stray is unknown`,
      ],
    },
    {
      name: "DRBD in use that should not be, another helper, another version",
      cause: () => {
        node(NODE3).drbd = { version: "9.0", minors: [7], usermodeHelper: "/bin/false", problem: "" };
      },
      undo: () => {
        node(NODE3).drbd = { version: "8.4", minors: [], usermodeHelper: "/bin/true", problem: "" };
      },
      told: [
        `ERROR:ENODEDRBDHELPER:node:${NODE3}:wrong drbd usermode helper: /bin/false`,
        `ERROR:ENODEDRBD:node:${NODE3}:unallocated drbd minor 7 is in use`,
        /^ERROR:ENODEDRBDVERSION:node:node3/,
      ],
    },
    {
      name: "OSes that are broken or only on some nodes",
      cause: () => {
        const os = { path: "/srv/os", variants: [], parameters: [], apiVersions: [20], trusted: true };
        const value = { os: [{ ...os, name: "bad", valid: false, problem: "no create script" }] };
        bed.live.apply(bed.uuidOf(NODE1), { update: { $case: "os", value } });
      },
      told: [
        /^ERROR:ENODEOS:node:node1.*Invalid OS bad \(located at \/srv\/os\): no create script/,
        /^ERROR:ENODEOS:node:node2.*missing on this node: bad/,
        /^ERROR:ENODEOS:node:node3.*missing on this node: bad/,
      ],
    },
    {
      name: "OSes that differ between nodes",
      cause: () => {
        const os = { name: "debian", path: "/srv/os", apiVersions: [20], trusted: true, valid: true, problem: "" };
        const tell = (node: string, variants: string[], parameters: string[]) => {
          const value = {
            os: [{ ...os, variants, parameters: parameters.map((name) => ({ name, help: "" })) }],
          };
          bed.live.apply(bed.uuidOf(node), { update: { $case: "os", value } });
        };
        tell(NODE1, ["trixie", "bookworm"], []);
        tell(NODE2, ["bookworm", "trixie"], ["mirror"]);
        tell(NODE3, ["trixie"], []);
      },
      told: [
        `ERROR:ENODEOS:node:${NODE2}:OS parameters for debian differs from reference node ${NODE1}: [] vs. [mirror]`,
        `ERROR:ENODEOS:node:${NODE3}:OS variants list for debian differs from reference node ${NODE1}: [bookworm, trixie] vs. [trixie]`,
      ],
    },
    {
      name: "an OS that only a later node has, and a cluster's address that nobody answers at",
      cause: () => {
        const os = { name: "late", path: "/srv/os", variants: [], parameters: [], apiVersions: [20], trusted: true };
        const value = { os: [{ ...os, valid: true, problem: "" }] };
        bed.live.apply(bed.uuidOf(NODE2), { update: { $case: "os", value } });
        bed.nodes.silent.add("192.0.2.250");
        return bed.setCluster({ masterIp: "192.0.2.250" });
      },
      undo: () => bed.setCluster({ masterIp: "192.0.2.1" }),
      told: [
        `ERROR:ENODENET:node:${NODE1}:the master node cannot reach the master IP (not configured?)`,
        `ERROR:ENODENET:node:${NODE2}:cannot reach the master IP`,
        `ERROR:ENODENET:node:${NODE3}:cannot reach the master IP`,
        `ERROR:ENODEOS:node:${NODE2}:Extra OS late not present on reference node (${NODE1})`,
      ],
    },
    {
      name: "guests that run where they should not, or not at all",
      cause: () => {
        bed.live.noteInstance(bed.uuidOf(NODE3), guest("stranger.gnt.test"));
        bed.live.noteInstance(bed.uuidOf(NODE3), guest(DB));
        bed.live.noteInstanceGone(bed.uuidOf(NODE1), WEB);
      },
      undo: () => {
        bed.live.noteInstanceGone(bed.uuidOf(NODE3), "stranger.gnt.test");
        bed.live.noteInstanceGone(bed.uuidOf(NODE3), DB);
        bed.live.noteInstance(bed.uuidOf(NODE1), guest(WEB));
      },
      told: [
        /^ERROR:ENODEORPHANINSTANCE:node:node3.*stranger.gnt.test/,
        `ERROR:EINSTANCEWRONGNODE:instance:${DB}:instance should not run on node ${NODE3}`,
        `ERROR:EINSTANCEDOWN:instance:${WEB}:instance not running on its primary node ${NODE1}`,
      ],
    },
    {
      name: "an instance that runs on another node only",
      cause: () => {
        bed.live.noteInstanceGone(bed.uuidOf(NODE2), DB);
        bed.live.noteInstance(bed.uuidOf(NODE3), guest(DB));
      },
      undo: () => {
        bed.live.noteInstanceGone(bed.uuidOf(NODE3), DB);
        bed.live.noteInstance(bed.uuidOf(NODE2), guest(DB));
      },
      told: [
        `ERROR:EINSTANCEDOWN:instance:${DB}:instance not running on its primary node ${NODE2}`,
        `ERROR:EINSTANCEWRONGNODE:instance:${DB}:instance should not run on node ${NODE3}`,
      ],
    },
    {
      name: "an instance that runs although it is down",
      cause: () => changeInstance(bed, DB, { adminState: "down" }),
      undo: () => changeInstance(bed, DB, { adminState: "up" }),
      told: [`ERROR:EINSTANCEWRONGNODE:instance:${DB}:instance should not run on node ${NODE2}`],
    },
    {
      name: "instances that break the policy, and conflicts of exclusion tags",
      cause: async () => {
        await bed.setCluster({ tags: ["htools:iextags:service"] });
        await changeInstance(bed, DB, { tags: ["service:db"] });
        await changeInstance(bed, WEB, {
          tags: ["service:db"],
          primaryNode: bed.uuidOf(NODE2),
          beparams: { vcpus: 99 },
        });
      },
      undo: async () => {
        await bed.setCluster({ tags: [] });
        await changeInstance(bed, WEB, { tags: [], primaryNode: bed.uuidOf(NODE1), beparams: {} });
      },
      told: [
        /^ERROR:EINSTANCEDOWN:instance:web1/,
        /^ERROR:EINSTANCEWRONGNODE:instance:web1/,
        /^WARNING:EINSTANCEPOLICY:instance:web1.*cpu-count value 99/,
        /^ERROR:EEXTAGS:cluster::Tag conflict.*db1.gnt.test, web1.gnt.test/,
      ],
    },
    {
      name: "too little memory for the failure of another node",
      cause: () => changeInstance(bed, WEB, { beparams: { minmem: 20_001, maxmem: 20_001 } }),
      undo: () => changeInstance(bed, WEB, { beparams: {} }),
      told: [/^ERROR:ENODEN1:node:node2.*should node node1.gnt.test fail \(20001MiB needed, 20000MiB available\)/],
    },
    {
      name: "hypervisor parameters that a node does not take",
      cause: () => {
        bed.nodes.failures = [{ node: NODE2, method: "instances.validate" }];
      },
      told: [/^ERROR:ENODEHV:node:node2.*\(source instance db1.gnt.test\)/],
    },
    {
      name: "hypervisor parameters that only a node to fail over to does not take",
      cause: () => {
        bed.nodes.failures = [{ node: NODE2, method: "instances.validate" }];
        return changeInstance(bed, WEB, { hvparams: { own: "value" } });
      },
      undo: () => changeInstance(bed, WEB, { hvparams: {} }),
      told: [
        /^ERROR:ENODEHV:node:node2.*\(source instance db1.gnt.test\)/,
        /^ERROR:ENODEHV:node:node2.*\(source instance web1.gnt.test\)/,
      ],
    },
  ];

  test.each(faults)("$name", async ({ cause, undo, told: expected, isClean = false }) => {
    await cause();
    const { log, result } = await verifyGroup();
    await undo?.();
    heal(bed);
    const lines = told(log).filter((line) => !(line.startsWith("WARNING:EINSTANCEPOLICY") && /memory/.test(line)));
    expect(lines).toEqual(
      expected.map((each) =>
        typeof each === "string" ? `- ${each}` : expect.stringMatching(new RegExp(each.source.replace("^", "^- "))),
      ),
    );
    expect(result).toBe(isClean);
    expect((await verifyGroup()).result).toBe(true);
  });

  test("disks that are missing, idle or faulty", async () => {
    const [disk] = bed.disks(DB);
    const id = disk?.logicalId.join("/") ?? "";
    const volume = node(NODE2).volumes.get(id);
    node(NODE2).volumes.delete(id);
    const ends = [...node(NODE1).ends];
    node(NODE1).ends.clear();
    const { log, result } = await verifyGroup();
    if (volume !== undefined) node(NODE2).volumes.set(id, volume);
    for (const [minor, end] of ends) node(NODE1).ends.set(minor, end);
    expect(result).toBe(false);
    expect(told(log)).toEqual([
      `- ERROR:ENODEDRBD:node:${NODE1}:drbd minor 0 of instance ${WEB} is not active`,
      `- ERROR:EINSTANCEMISSINGDISK:instance:${DB}:disk/0 on ${NODE2} is missing: ${id}`,
      `- ERROR:EINSTANCEFAULTYDISK:instance:${WEB}:disk/0 on ${NODE1} is not active`,
    ]);
  });

  test("instances on offline nodes", async () => {
    await bed.setNode(NODE2, { offline: true, masterCandidate: false });
    const { log } = await verifyGroup({ error_codes: false, verbose: true });
    await bed.setNode(NODE2, { offline: false, masterCandidate: true });
    expect(told(log)).toEqual(
      expect.arrayContaining([
        `- ERROR: instance ${DB}: instance is marked as running and lives on offline node ${NODE2}`,
        `- ERROR: instance ${WEB}: instance has offline secondary node(s) ${NODE2}`,
      ]),
    );
    expect(log).toContain("  - NOTICE: 1 offline node(s) found.");
    expect(log).toContain(`* Skipping offline node ${NODE2}`);
  });
});

describe("OP_CLUSTER_VERIFY_GROUP asks", () => {
  /** What a verification asks of a node by one method. */
  async function requests<Request>(name: string, method: string): Promise<readonly Request[]> {
    bed.nodes.calls.length = 0;
    await verifyGroup();
    const asked = bed.nodes.calls.filter((call) => call.node === name && call.method === method);
    return asked.map(({ request }) => request as Request);
  }
  const bridges = async (name: string) =>
    (await requests<VerifyNodeRequest>(name, "node.verify")).flatMap((request) => request.bridges);

  test("both nodes of a mirrored instance for its bridges, and all for the one of new NICs", async () => {
    const [nic] = bed.instance(WEB).nics;
    assert.ok(nic !== undefined);
    const standard = String(bed.view.cluster.nicparams.link);
    await changeInstance(bed, WEB, { nics: [{ ...nic, nicparams: { link: "br-web" } }] });
    expect(await bridges(NODE1)).toEqual(["br-web", standard]);
    expect(await bridges(NODE2)).toEqual(["br-web", standard]);
    expect(await bridges(NODE3)).toEqual([standard]);
    await bed.setNode(NODE3, { vmCapable: false });
    expect(await bridges(NODE3)).toEqual([]);
    await bed.setNode(NODE3, { vmCapable: true });
    await changeInstance(bed, WEB, { nics: [nic] });
  });

  test("no node for a bridge where new NICs are routed", async () => {
    const { nicparams } = bed.view.cluster;
    await bed.setCluster({ nicparams: { ...nicparams, mode: "routed", link: "100" } });
    expect(await bridges(NODE3)).toEqual([]);
    await bed.setCluster({ nicparams });
  });

  test("each node for the others' addresses for replication, from its own", async () => {
    const replication = async (name: string) =>
      (await requests<CheckAddressesRequest>(name, "node.checkAddresses")).filter(({ from }) => from !== "");
    const port = 1811;
    expect(await replication(NODE2)).toEqual([
      { own: [], from: "198.51.100.2", peers: ["198.51.100.1", "198.51.100.3"].map((address) => ({ address, port })) },
    ]);
    await bed.setNode(NODE1, { secondaryIp: "192.0.2.1" });
    expect(await replication(NODE2)).toMatchObject([{ peers: [{ address: "198.51.100.3", port }] }]);
    await bed.setNode(NODE1, { secondaryIp: "198.51.100.1" });
  });
});

describe("options of a verification", () => {
  test("errors that are ignored are warnings", async () => {
    bed.nodes.silent.add("192.0.2.3");
    const { log, result } = await verifyGroup({ ignore_errors: ["ENODENET"] });
    expect(result).toBe(true);
    expect(told(log)).toEqual([expect.stringMatching(/WARNING:ENODENET/), expect.stringMatching(/WARNING:ENODENET/)]);
  });

  test("checks that are left out", async () => {
    await changeInstance(bed, WEB, { beparams: { minmem: 20_001, maxmem: 20_001 } });
    bed.nodes.failures = [{ node: NODE2, method: "instances.validate" }];
    const { result } = await verifyGroup({ skip_checks: ["nplusone_mem", "hvparam_assessment"] });
    await changeInstance(bed, WEB, { beparams: {} });
    expect(result).toBe(true);
  });

  test("errors that are only simulated", async () => {
    const { log, result } = await verifyGroup({ debug_simulate_errors: true });
    expect(result).toBe(false);
    for (const code of ["ENODERPC", "ENODETIME", "ENODELVM", "EINSTANCEDOWN", "EINSTANCEMISSINGDISK", "ENODEHV"])
      expect(told(log).join("\n")).toContain(`ERROR:${code}:`);
    const config = await bed.succeed("OP_CLUSTER_VERIFY_CONFIG", { debug_simulate_errors: true });
    expect(config.result).toBe(false);
  });
});
