import {
  type AllocatorCluster,
  type AllocatorInput,
  type AllocatorNode,
  type NewInstanceRequest,
  solve,
} from "@gannet/allocator";
import { policyViolations } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  allocateRequest,
  anyCluster,
  anyNewInstance,
  clusterOf,
  GROUP_A,
  GROUP_B,
  newInstance,
  policy,
  withoutLiveValues,
} from "./clusters.ts";
import { type Arrival, problemsAfter } from "./placement-check.ts";

const RUNS = { numRuns: 400 };

function asked(cluster: AllocatorCluster, request: NewInstanceRequest): AllocatorInput {
  return { ...cluster, request: { type: "allocate", ...request } };
}

function arrival(request: NewInstanceRequest, nodes: readonly string[]): Arrival {
  return { name: request.name, instance: { ...request, admin_state: "up", disks_active: true, nodes } };
}

/** What is wrong with a placement, its group's rules included. */
function placementProblems(cluster: AllocatorCluster, request: NewInstanceRequest, nodes: readonly string[]) {
  const group = cluster.nodegroups[cluster.nodes[nodes[0] ?? ""]?.group ?? ""];
  return [
    ...problemsAfter(cluster, [arrival(request, nodes)]),
    ...(group === undefined || group.alloc_policy === "unallocable" ? ["group is unallocable"] : []),
    ...(request.group_name !== null && group?.name !== request.group_name ? ["wrong group"] : []),
    ...(group === undefined
      ? []
      : policyViolations(group.ipolicy, {
          memoryMib: request.memory,
          vcpus: request.vcpus,
          diskSizesMib: request.disks.map(({ size }) => size),
          nicCount: request.nics.length,
          spindleUse: request.spindle_use,
          diskTemplate: request.disk_template as "drbd",
        })),
  ];
}

function everyPlacement(
  cluster: AllocatorCluster,
  { required_nodes }: NewInstanceRequest,
): readonly (readonly string[])[] {
  const names = Object.keys(cluster.nodes);
  return required_nodes === 1
    ? names.map((name) => [name])
    : names.flatMap((primary) => names.filter((name) => name !== primary).map((secondary) => [primary, secondary]));
}

describe("allocate", () => {
  it("finds a valid place whenever there is one", () => {
    fc.assert(
      fc.property(anyCluster, anyNewInstance, (cluster, request) => {
        const { success, result } = solve(asked(cluster, request));
        const valid = everyPlacement(cluster, request).filter(
          (nodes) => placementProblems(cluster, request, nodes).length === 0,
        );
        if (success) expect(valid).toContainEqual(result);
        else expect(valid).toEqual([]);
      }),
      RUNS,
    );
  });

  it("does not depend on the order of the message", () => {
    fc.assert(
      fc.property(anyCluster, anyNewInstance, (cluster, request) => {
        const reversed = (rows: object) => Object.fromEntries(Object.entries(rows).toReversed());
        const shuffled = {
          ...cluster,
          nodes: reversed(cluster.nodes),
          instances: reversed(cluster.instances),
          nodegroups: reversed(cluster.nodegroups),
        } as AllocatorCluster;
        expect(solve(asked(shuffled, request)).result).toEqual(solve(asked(cluster, request)).result);
      }),
      RUNS,
    );
  });

  it("keeps to the nodes it is restricted to", () => {
    fc.assert(
      fc.property(anyCluster, anyNewInstance, fc.nat(63), (cluster, request, mask) => {
        const only = Object.keys(cluster.nodes).filter((_, index) => (mask >> index) & 1);
        const { success, result } = solve(asked(cluster, { ...request, "restrict-to-nodes": only }));
        if (success) for (const node of result as string[]) expect(only).toContain(node);
        const possible = everyPlacement(cluster, request).some(
          (nodes) =>
            nodes.every((node) => only.includes(node)) && placementProblems(cluster, request, nodes).length === 0,
        );
        expect(success).toBe(possible);
      }),
      RUNS,
    );
  });

  it("places several one after another, each valid beside those before", () => {
    fc.assert(
      fc.property(anyCluster, fc.array(anyNewInstance, { minLength: 1, maxLength: 6 }), (cluster, rows) => {
        const instances = rows.map((row, index) => ({ ...row, name: `new${index}` }));
        const { result } = solve({ ...cluster, request: { type: "multi-allocate", instances } });
        const [placed, failed] = result as [[string, string[]][], string[]];
        expect([...placed.map(([name]) => name), ...failed].sort()).toEqual(instances.map(({ name }) => name));
        let sofar: readonly Arrival[] = [];
        for (const [name, nodes] of placed) {
          const request = instances.find((instance) => instance.name === name) as NewInstanceRequest;
          sofar = [...sofar, arrival(request, nodes)];
        }
        expect(problemsAfter(cluster, sofar)).toEqual([]);
      }),
      RUNS,
    );
  });

  it("takes the emptiest nodes", () => {
    const cluster = clusterOf({
      nodes: { node1: {}, node2: {}, node3: {} },
      instances: { busy: { nodes: ["node1", "node2"], memory: 4_096 } },
    });
    expect(solve(asked(cluster, newInstance({ disk_template: "plain" }))).result).toEqual(["node3"]);
  });

  it("takes the first by name of nodes that are alike", () => {
    const cluster = clusterOf({ nodes: { c: {}, b: {}, a: {} } });
    expect(solve(asked(cluster, newInstance())).result).toEqual(["a", "b"]);
  });

  it("takes a preferred group before one of last resort, however full it is", () => {
    const groups = { [GROUP_A]: { alloc_policy: "last_resort" as const }, [GROUP_B]: {} };
    const nodes = { empty: { group: GROUP_A }, full: { group: GROUP_B, memory: 3_072 } };
    const cluster = clusterOf({ groups, nodes, instances: { old: { nodes: ["full"], disk_template: "plain" } } });
    const plain = newInstance({ disk_template: "plain" });
    expect(solve(asked(cluster, plain)).result).toEqual(["full"]);
    expect(solve(asked(cluster, { ...plain, memory: 8_192 })).result).toEqual(["empty"]);
  });

  it("takes only groups that the instance's networks are connected to", () => {
    const network = "00000000-0000-4000-8000-0000000000ff";
    const groups = { [GROUP_A]: {}, [GROUP_B]: { networks: [network] } };
    const cluster = clusterOf({ groups, nodes: { a: { group: GROUP_A }, b: { group: GROUP_B, memory: 2_048 } } });
    const nics = [{ mac: "aa:00:00:00:00:01", ip: null, mode: "bridged", link: "br0", network }];
    expect(solve(asked(cluster, newInstance({ disk_template: "plain", nics }))).result).toEqual(["b"]);
  });

  it("says why nodes were refused, with counts", () => {
    const cluster = clusterOf({
      nodes: {
        full: { memory: 512 },
        full2: { memory: 512 },
        small: { disk: 1_024 },
        off: { offline: true },
        drained: { drained: true },
      },
    });
    const silent = {
      ...cluster,
      nodes: { ...cluster.nodes, silent: withoutLiveValues(cluster.nodes.full as AllocatorNode) },
    };
    const { success, info, result } = solve(asked(silent, newInstance({ disk_template: "plain" })));
    expect({ success, result }).toEqual({ success: false, result: [] });
    expect(info).toBe(
      "Request failed: Group group-a: FailMem: 2, FailDisk: 1, drained: 1, offline: 1, without live values: 1",
    );
  });

  it("counts the good and the refused placements of what it chose", () => {
    const cluster = clusterOf({ nodes: { a: {}, b: {}, full: { memory: 512 } } });
    expect(solve(asked(cluster, newInstance({ disk_template: "plain" }))).info).toMatch(
      /^Request successful: Selected group: group-a \(preferred\), score: [\d.]+, successes 2, failures 1 \(FailMem: 1\) for node\(s\) a$/,
    );
  });

  it("names what of a policy an instance is against", () => {
    const cluster = clusterOf({
      nodes: { a: {} },
      groups: { [GROUP_A]: { ipolicy: policy({ "disk-templates": ["drbd"] }) } },
    });
    expect(solve(asked(cluster, newInstance({ disk_template: "plain" }))).info).toContain(
      "disk template plain is not among the allowed",
    );
  });

  it("starts what is down in its thoughts, and counts nothing for what is offline", () => {
    const memory = 3_072;
    const down = (admin_state: string) =>
      clusterOf({
        nodes: { a: { memory } },
        instances: { old: { nodes: ["a"], memory: 2_560, admin_state, disk_template: "plain" } },
      });
    const request = newInstance({ disk_template: "plain", memory: 1_024 });
    expect(solve(asked(down("down"), request)).success).toBe(false);
    expect(solve(asked(down("offline"), request)).success).toBe(true);
  });

  it("keeps room on a node for what would fail over to it", () => {
    const cluster = clusterOf({
      nodes: { a: { memory: 4_096 }, b: { memory: 4_096 } },
      instances: { old: { nodes: ["a", "b"], memory: 3_584 } },
    });
    const request = newInstance({ disk_template: "plain", memory: 1_024 });
    expect(solve(asked(cluster, request)).info).toContain("FailN1: 1");
    expect(solve(asked(cluster, request), { softErrors: "ignore" }).result).toEqual(["b"]);
  });

  it("places no instance that is there already", () => {
    const cluster = clusterOf({ nodes: { a: {} }, instances: { old: { nodes: ["a"], disk_template: "plain" } } });
    expect(solve(asked(cluster, newInstance({ name: "old", disk_template: "plain" })))).toEqual({
      success: false,
      info: "Request failed: there is an instance old already",
      result: [],
    });
  });

  it("counts spindles by the policy's ratio, and by disks where they are not shared", () => {
    const ratio = { [GROUP_A]: { ipolicy: policy({ "spindle-ratio": 2 }) } };
    const busy = { nodes: ["a"], spindle_use: 2, disk_template: "plain" };
    const shared = clusterOf({ groups: ratio, nodes: { a: {} }, instances: { busy } });
    expect(solve(asked(shared, newInstance({ disk_template: "plain" }))).info).toContain("FailSpindles: 1");
    const exclusive = (free_spindles: number) =>
      clusterOf({
        nodes: { a: { ndparams: { exclusive_storage: true }, total_spindles: 3, free_spindles } },
        instances: { busy },
      });
    const request = newInstance({ disk_template: "plain", disks: [{ size: 1_024, mode: "rw", spindles: 2 }] });
    expect(solve(asked(exclusive(1), request)).info).toContain("FailSpindles: 1");
    expect(solve(asked(exclusive(2), request)).success).toBe(true);
  });

  it("prefers nodes that do not fail together, and the locations an instance would like", () => {
    const tags = ["htools:nlocation:power", "htools:desiredlocation:power", "htools:iextags:svc"];
    const nodes = { a: { tags: ["power:1"] }, b: { tags: ["power:1"] }, c: { tags: ["power:2"] } };
    expect(solve(asked(clusterOf({ tags, nodes }), newInstance())).result).toEqual(["a", "c"]);
    const plain = newInstance({ disk_template: "plain" });
    expect(solve(asked(clusterOf({ tags, nodes }), { ...plain, tags: ["power:2"] })).result).toEqual(["c"]);
    const instances = { first: { nodes: ["a"], disk_template: "plain", tags: ["svc:dns"] } };
    expect(solve(asked(clusterOf({ tags, nodes, instances }), { ...plain, tags: ["svc:dns"] })).result).toEqual(["c"]);
  });

  it("answers an allocation for a cluster without nodes", () => {
    const { success, info } = solve({ ...clusterOf({ nodes: {} }), request: allocateRequest() });
    expect(success).toBe(false);
    expect(info).toContain("0 of its nodes may take instances, 2 are needed");
  });
});
