/** Changes of policies, networks, pools of user ids and states, and what contradicts itself in a configuration. */
import { GannetError } from "@gannet/errors";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  changedClusterPolicy,
  changedDiskState,
  changedGroupPolicy,
  changedHypervisorState,
  changedNetwork,
  checkedUidPool,
  DEFAULT_POLICY,
  filledPolicy,
  ipv6Contains,
  type NetworkUuid,
  networkPool,
  newNetwork,
  policyProblems,
  withoutUids,
  withUids,
} from "../src/index.ts";

describe("instance policies", () => {
  const min = DEFAULT_POLICY.minmax[0]?.min;
  const max = DEFAULT_POLICY.minmax[0]?.max;

  test("bounds are replaced as a whole, standard sizes are merged, sizes have units", () => {
    const bounds = { min: { ...min, "disk-size": "1g" }, max: { ...max, "memory-size": "16g", "cpu-count": "4" } };
    const changed = changedClusterPolicy(DEFAULT_POLICY, { minmax: [bounds], std: { "disk-size": "2g" } });
    expect(changed.minmax).toEqual([{ min, max: { ...max, "memory-size": 16_384, "cpu-count": 4 } }]);
    expect(changed.std).toEqual({ ...DEFAULT_POLICY.std, "disk-size": 2048 });
    expect(changed["vcpu-ratio"]).toBe(4);
  });

  test("every problem is told", () => {
    const change = { nosuch: 1, "vcpu-ratio": "many", minmax: [{ min: { ...min, "nic-count": -1 }, max }] };
    expect(() => changedClusterPolicy(DEFAULT_POLICY, change)).toThrow(
      /nosuch.*vcpu-ratio: must be a number.*below zero/,
    );
    expect(() => changedClusterPolicy(DEFAULT_POLICY, { minmax: null })).toThrow(/without minmax/);
  });

  test("a group's bounds need not hold the cluster's standard sizes", () => {
    const bounds = [{ min: { ...min, "memory-size": 4096 }, max }];
    expect(() => changedClusterPolicy(DEFAULT_POLICY, { minmax: bounds })).toThrow(/std is outside/);
    expect(changedGroupPolicy({}, { minmax: bounds }, DEFAULT_POLICY)).toEqual({ minmax: bounds });
    expect(changedGroupPolicy({ minmax: bounds as never }, { minmax: [] }, DEFAULT_POLICY)).toEqual({});
    expect(() => changedGroupPolicy({}, { std: {} }, DEFAULT_POLICY)).toThrow(/cluster's alone/);
    expect(() => changedGroupPolicy({}, { "spindle-ratio": 0 }, DEFAULT_POLICY)).toThrow(/above 0/);
  });
});

describe("pools of user ids", () => {
  const range = fc.tuple(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 0, max: 5 })).map(([first, more]) => {
    const uids: [number, number] = [first, first + more];
    return uids;
  });

  test("what is added can be removed, and is in order meanwhile", () => {
    fc.assert(
      fc.property(fc.array(range), fc.array(range), (ranges, added) => {
        let pool: [number, number][];
        let extended: [number, number][];
        try {
          pool = checkedUidPool(ranges);
          extended = withUids(pool, added);
        } catch {
          return;
        }
        expect(extended).toEqual([...extended].sort(([a], [b]) => a - b));
        const fresh = added.filter(([first]) => !pool.some(([other]) => other === first));
        expect(withoutUids(extended, fresh)).toEqual(pool);
      }),
    );
  });

  test.each([
    [[[0, 5]]],
    [[[5, 4]]],
    [[[1, 2 ** 32 - 1]]],
    [
      [
        [1, 5],
        [5, 6],
      ],
    ],
  ] as const)("refuses %j", (ranges) => {
    expect(() => checkedUidPool(ranges)).toThrow(/user ids/i);
  });
});

describe("states of resources", () => {
  test("values are merged, and go with 'default'", () => {
    const first = changedHypervisorState({}, { kvm: { mem_hv: "64", cpu_node: 2 } });
    expect(changedHypervisorState(first, { kvm: { mem_hv: "default" } })).toEqual({ kvm: { cpu_node: 2 } });
    const disks = changedDiskState({}, { plain: { xenvg: { disk_reserved: 5 } } });
    expect(changedDiskState(disks, { plain: { fast: { disk_total: 7 } } })).toEqual({
      plain: { xenvg: { disk_reserved: 5 }, fast: { disk_total: 7 } },
    });
  });

  test.each([[{ nosuch: {} }], [{ kvm: 1 }], [{ kvm: { mem_hv: "much" } }], [{ kvm: { nosuch: 1 } }]])(
    "refuses %j",
    (change) => {
      expect(() => changedHypervisorState({}, change)).toThrow(/hv_state/);
    },
  );
});

test("whatever is sent as a policy or a state, it is refused or it makes one that is valid", () => {
  const keys = fc.constantFrom("minmax", "std", "disk-templates", "vcpu-ratio", "kvm", "plain", "constructor", "x");
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom("default", "1g", -1, 0, 4),
    fc.dictionary(keys, fc.jsonValue()),
  );
  fc.assert(
    fc.property(fc.dictionary(keys, value), (change) => {
      const attempts = [
        () => policyProblems(changedClusterPolicy(DEFAULT_POLICY, change)),
        () =>
          policyProblems(filledPolicy(cluster, { ipolicy: changedGroupPolicy({}, change, DEFAULT_POLICY) })).filter(
            isNotStd,
          ),
        () => Object.keys(changedHypervisorState({}, change)).filter((name) => name !== "kvm"),
        () => Object.keys(changedDiskState({}, change)).filter((name) => name !== "plain"),
      ];
      for (const attempt of attempts) {
        try {
          expect(attempt()).toEqual([]);
        } catch (error) {
          if (!(error instanceof GannetError)) throw error;
        }
      }
    }),
  );
});

const cluster = { ipolicy: DEFAULT_POLICY };
const isNotStd = (problem: string) => !problem.startsWith("std");

describe("networks", () => {
  const asked = {
    ...{ uuid: "11111111-1111-4111-8111-111111111111" as NetworkUuid, name: "lan", network: "192.0.2.0/28" },
    ...{ gateway: "192.0.2.1", network6: null, gateway6: null, macPrefix: null, reservedIps: [], tags: [], now: 1 },
  };
  const change = { addReservedIps: [], removeReservedIps: [] };
  const kept = (network: networkPool.NetworkPool) => networkPool.externalReservations(network);

  test("changes that are undone leave the reservations as they were", () => {
    const address = fc.integer({ min: 2, max: 14 }).map((last) => `192.0.2.${last}`);
    fc.assert(
      fc.property(fc.uniqueArray(address), (ips) => {
        const network = newNetwork(asked);
        const more = changedNetwork(network, { ...change, addReservedIps: ips });
        expect(more.notes).toEqual([]);
        expect(kept(more.network)).toHaveLength(3 + ips.length);
        expect(changedNetwork(more.network, { ...change, removeReservedIps: ips }).network).toEqual(network);
      }),
    );
  });

  test("a gateway that goes frees its address, and another cannot take one that is taken", () => {
    const network = newNetwork({ ...asked, reservedIps: ["192.0.2.7"] });
    const moved = changedNetwork(network, { ...change, gateway: "192.0.2.2" }).network;
    expect(kept(moved)).toEqual(["192.0.2.0", "192.0.2.2", "192.0.2.7", "192.0.2.15"]);
    expect(() => changedNetwork(network, { ...change, gateway: "192.0.2.7" })).toThrow(/already reserved/);
    const used = { ...network, ...networkPool.reserve(network, "192.0.2.9", "instance") };
    expect(() => changedNetwork(used, { ...change, addReservedIps: ["192.0.2.9"] })).toThrow(/already reserved/);
    expect(() => changedNetwork(network, { ...change, removeReservedIps: ["192.0.2.1"] })).toThrow(/stays reserved/);
  });

  test.each([
    ["2001:db8::/64", "2001:db8::ffff", true],
    ["2001:db8::/64", "2001:db8:0:1::1", false],
    ["2001:db8::/33", "2001:db8:7fff::1", true],
    ["2001:db8::/33", "2001:db8:8000::1", false],
    ["::ffff:192.0.2.0/120", "::ffff:c000:207", true],
    ["::ffff:192.0.2.0/120", "::ffff:192.0.3.7", false],
    ["fe80::/10", "febf::1", true],
    ["::/0", "2001:db8::1", true],
    ["2001:db8::/64", "192.0.2.1", false],
  ])("%s holds %s: %s", (network, ip, inside) => {
    expect(ipv6Contains(network, ip)).toBe(inside);
  });
});
