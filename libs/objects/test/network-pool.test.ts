import type { NetworkPool, ReservationKind } from "@gannet/objects";
import { networkPool } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

function pool(network: string, gateway: string | null = null): NetworkPool {
  return { network, ...networkPool.newReservations(network, gateway) };
}

describe("a network's addresses", () => {
  it("keeps network, broadcast and gateway for themselves", () => {
    const net = pool("192.0.2.0/28", "192.0.2.1");
    expect(networkPool.addressMap(net)).toBe("XX.............X");
    expect(networkPool.externalReservations(net)).toEqual(["192.0.2.0", "192.0.2.1", "192.0.2.15"]);
    expect([networkPool.freeCount(net), networkPool.reservedCount(net)]).toEqual([13, 3]);
    expect(networkPool.nextFree(net)).toBe("192.0.2.2");
  });

  it("counts with addresses above 128.0.0.0", () => {
    const net = pool("255.255.0.0/16");
    expect(networkPool.nextFree(net)).toBe("255.255.0.1");
    expect(networkPool.contains(net, "255.255.255.255")).toBe(true);
    expect(networkPool.contains(net, "255.254.255.255")).toBe(false);
  });

  it.each([
    ["192.0.2.0/31", null],
    ["10.0.0.0/8", null],
    ["192.0.2.1/28", null],
    ["192.0.2.0", null],
    ["192.0.2.0/28/3", null],
    ["2001:db8::/64", null],
    ["192.0.2.0/28", "192.0.3.1"],
    ["192.0.2.0/28", "192.0.2.0"],
    ["192.0.2.0/28", "gateway"],
  ])("refuses %s with gateway %s", (network, gateway) => {
    expect(() => networkPool.newReservations(network, gateway)).toThrow(/192\.0\.|10\.|2001/);
  });

  it("tells instances' addresses from those kept for others", () => {
    const net = pool("192.0.2.0/29");
    const reserved = { ...net, ...networkPool.reserve(net, "192.0.2.3", "instance") };
    expect(networkPool.externalReservations(reserved)).not.toContain("192.0.2.3");
    expect(() => networkPool.release(reserved, "192.0.2.3", "external")).toThrow(/no external reservation/);
    expect(() => networkPool.reserve(reserved, "192.0.2.3", "external")).toThrow(/already reserved/);
    expect(() => networkPool.reserve(reserved, "192.0.2.8", "instance")).toThrow(/no address of network/);
  });

  it("behaves as a set of addresses does", () => {
    const step = fc.record({
      offset: fc.nat(17),
      act: fc.constantFrom("reserve", "release", "take next"),
      kind: fc.constantFrom<ReservationKind>("instance", "external"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let net = pool("198.51.100.16/28");
        const model = new Map<number, ReservationKind>([
          [0, "external"],
          [15, "external"],
        ]);
        for (const { offset, act, kind } of steps) {
          const ip = `198.51.100.${16 + offset}`;
          const lowest = [...Array(16).keys()].find((index) => !model.has(index));
          if (act === "take next") {
            const next = networkPool.nextFree(net);
            expect(next).toBe(lowest === undefined ? undefined : `198.51.100.${16 + lowest}`);
            if (next === undefined || lowest === undefined) continue;
            net = { ...net, ...networkPool.reserve(net, next, kind) };
            model.set(lowest, kind);
          } else if (act === "reserve") {
            const allowed = offset < 16 && !model.has(offset);
            if (allowed) {
              net = { ...net, ...networkPool.reserve(net, ip, kind) };
              model.set(offset, kind);
            } else expect(() => networkPool.reserve(net, ip, kind)).toThrow();
          } else if (model.get(offset) === kind) {
            net = { ...net, ...networkPool.release(net, ip, kind) };
            model.delete(offset);
          } else expect(() => networkPool.release(net, ip, kind)).toThrow();
        }
        expect(networkPool.addressMap(net)).toBe([...Array(16).keys()].map((i) => (model.has(i) ? "X" : ".")).join(""));
        expect(networkPool.reservedCount(net)).toBe(model.size);
        expect(networkPool.externalReservations(net)).toHaveLength(
          [...model.values()].filter((k) => k === "external").length,
        );
      }),
    );
  });
});
