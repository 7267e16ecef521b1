/** Verification of the configuration, of disks, and of their sizes. */
import { NodeUnreachable } from "@gannet/errors";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
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

const node = (name: string): ScriptedNode => bed.nodes.named(name);

test("OP_CLUSTER_VERIFY_CONFIG tells of the master's certificates before they end", async () => {
  const day = 24 * 60 * 60 * 1000;
  const certificate = { path: "/rapi.pem", problem: "", notBeforeMs: 0, notAfterMs: Date.now() + 20.5 * day };
  const verify = () => bed.succeed("OP_CLUSTER_VERIFY_CONFIG", { error_codes: true });
  bed.certificates.push(certificate);
  const soon = await verify();
  expect(soon.result).toBe(true);
  expect(told(soon.log)).toEqual([
    "- WARNING:ECLUSTERCERT:cluster::while verifying /rapi.pem: Certificate expires in about 20 days",
  ]);
  bed.certificates.splice(0, 1, { ...certificate, notAfterMs: Date.now() - day });
  const late = await verify();
  bed.certificates.length = 0;
  expect(late.result).toBe(false);
  expect(told(late.log)).toEqual([expect.stringMatching(/^- ERROR:ECLUSTERCERT:.*rapi.pem: Certificate is expired/)]);
});

describe("OP_CLUSTER_VERIFY_CONFIG finds", () => {
  const nowhere = "99999999-9999-4999-8999-999999999999";
  const faults: readonly (readonly [
    name: string,
    cause: () => Promise<unknown>,
    undo: () => Promise<unknown>,
    told: readonly string[],
  ])[] = [
    [
      "a hypervisor that is in use and not enabled",
      () => bed.setCluster({ enabledHypervisors: ["kvm"] }),
      () => bed.setCluster({ enabledHypervisors: ["fake", "kvm"] }),
      [DB, WEB].map((name) => `ECLUSTERCFG:cluster:instance ${name}:hypervisor fake is not enabled`),
    ],
    [
      "several roles of one node",
      () => bed.setNode(NODE3, { masterCandidate: true, drained: true }),
      () => bed.setNode(NODE3, { drained: false }),
      [`ECLUSTERCFG:cluster:node ${NODE3}:it has several roles at once: masterCandidate, drained`],
    ],
    [
      "two nodes with one address",
      () => bed.setNode(NODE3, { secondaryIp: "192.0.2.1" }),
      () => bed.setNode(NODE3, { secondaryIp: "198.51.100.3" }),
      [`ECLUSTERCFG:cluster:node ${NODE3}:it has the address 192.0.2.1, as node ${NODE1}`],
    ],
    [
      "a node of no group",
      () => bed.setNode(NODE3, { group: nowhere as never }),
      async () => bed.setNode(NODE3, { group: bed.view.findGroup("default")?.uuid as never }),
      [`ECLUSTERDANGLINGNODES:node:${NODE3}:it belongs to a group that does not exist`],
    ],
    [
      "a NIC in a network that is gone",
      () =>
        changeInstance(bed, DB, { nics: bed.instance(DB).nics.map((nic) => ({ ...nic, network: nowhere as never })) }),
      () => changeInstance(bed, DB, { nics: bed.instance(DB).nics.map((nic) => ({ ...nic, network: null })) }),
      [`ECLUSTERCFG:cluster:instance ${DB}:nic/0 is in a network that does not exist`],
    ],
    [
      "a port of a disk that is free",
      () => bed.setCluster({ tcpudpPortPool: [Number(bed.disks(WEB)[0]?.logicalId[2])] }),
      () => bed.setCluster({ tcpudpPortPool: [] }),
      [`ECLUSTERCFG:cluster::disk`],
    ],
    [
      "addresses that are reserved for no instance",
      async () => {
        await bed.succeed("OP_NETWORK_ADD", { network_name: "lan", network: "203.0.113.0/30" });
        await bed.commit((view) => {
          const row = view.findNetwork("lan");
          return row === undefined ? [] : [{ kind: "network", put: { ...row, reservations: "0100" } }];
        });
      },
      () => bed.succeed("OP_NETWORK_REMOVE", { network_name: "lan" }),
      ["ECLUSTERCFG:cluster:network lan:it has 1 addresses reserved for instances, which have 0"],
    ],
  ];

  test.each(faults)("%s", async (_name, cause, undo, expected) => {
    await cause();
    const { log, result } = await bed.succeed("OP_CLUSTER_VERIFY_CONFIG", { error_codes: true });
    await undo();
    expect(result).toBe(false);
    expect([...told(log)].sort()).toEqual(expected.map((line) => expect.stringContaining(`- ERROR:${line}`)));
    expect((await bed.succeed("OP_CLUSTER_VERIFY_CONFIG", {})).result).toBe(true);
  });
});

describe("OP_GROUP_VERIFY_DISKS", () => {
  const verify = async (more: object = {}) =>
    (await bed.succeed("OP_GROUP_VERIFY_DISKS", { group_name: "default", ...more })).result;

  test("finds disks that are missing or idle, and nodes that cannot tell", async () => {
    expect(await verify()).toEqual([{}, [], {}]);
    const [disk] = bed.disks(DB);
    const id = disk?.logicalId.join("/") ?? "";
    const volume = node(NODE2).volumes.get(id);
    const ends = [...node(NODE1).ends];
    node(NODE2).volumes.delete(id);
    node(NODE1).ends.clear();
    expect(await verify()).toEqual([{}, [WEB], { [DB]: [[NODE2, id]] }]);
    bed.nodes.failures = [
      { node: NODE2, method: "storage.listVolumes", error: new NodeUnreachable(NODE2, "no answer") },
    ];
    expect(await verify({ is_strict: false })).toEqual([{ [NODE2]: "no answer" }, [WEB], {}]);
    if (volume !== undefined) node(NODE2).volumes.set(id, volume);
    for (const [minor, end] of ends) node(NODE1).ends.set(minor, end);
  });

  test("is submitted for each group by OP_CLUSTER_VERIFY_DISKS", async () => {
    const { result } = await bed.succeed("OP_CLUSTER_VERIFY_DISKS", { is_strict: false });
    const [[, id] = [true, 0]] = (result as { jobs: [boolean, number][] }).jobs;
    const job = await bed.ended(id);
    expect(job.opcodes[0]).toMatchObject({ input: { group_name: "default", is_strict: false }, result: [{}, [], {}] });
  });
});

describe("OP_CLUSTER_REPAIR_DISK_SIZES", () => {
  test("records what the nodes report, and tells of what they do not", async () => {
    const repair = async (instances: readonly string[] = []) =>
      await bed.succeed("OP_CLUSTER_REPAIR_DISK_SIZES", { instances });
    expect((await repair()).result).toEqual([]);
    const [disk] = bed.disks(WEB);
    const volume = node(NODE1).volumes.get(disk?.children[0]?.logicalId.join("/") ?? "");
    if (volume !== undefined) volume.sizeMib = 2048;
    expect((await repair([DB])).result).toEqual([]);
    expect((await repair([WEB])).result).toEqual([[WEB, 0, "size", 2048]]);
    expect(bed.disks(WEB)[0]).toMatchObject({ sizeMib: 2048, children: [{ sizeMib: 2048 }, { sizeMib: 128 }] });
    bed.nodes.failures = [{ node: NODE2, method: "status" }];
    expect((await repair()).log.join("\n")).toContain(`Disk 0 of instance ${DB} did not return size information`);
    const unknown = await bed.run("OP_CLUSTER_REPAIR_DISK_SIZES", { instances: ["nosuch"] });
    expect(unknown.result).toEqual(["OpPrereqError", [expect.any(String), "unknown_entity"]]);
  });
});
