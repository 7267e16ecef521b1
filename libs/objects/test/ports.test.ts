import { allocatePort, FIRST_PORT, freePort, LAST_PORT, type PortState } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const FRESH: PortState = { highestUsedPort: FIRST_PORT - 1, tcpudpPortPool: [] };

describe("ports", () => {
  it("never hands out a port twice, and uses freed ones first", () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(40)), { maxLength: 120 }), (steps) => {
        let state = FRESH;
        const used = new Set<number>();
        for (const toFree of steps) {
          if (toFree === null) {
            const { port, state: next } = allocatePort(state);
            expect(used.has(port)).toBe(false);
            expect(port).toBe([...Array(200).keys()].map((i) => FIRST_PORT + i).find((p) => !used.has(p)));
            used.add(port);
            state = next;
          } else {
            state = freePort(state, FIRST_PORT + toFree);
            used.delete(FIRST_PORT + toFree);
          }
        }
        expect(state.highestUsedPort - FIRST_PORT + 1 - state.tcpudpPortPool.length).toBe(used.size);
      }),
    );
  });

  it("ends with a clear error", () => {
    const full = { highestUsedPort: LAST_PORT, tcpudpPortPool: [] };
    expect(() => allocatePort(full)).toThrow(/11000 to 14999/);
    expect(allocatePort(freePort(full, LAST_PORT)).port).toBe(LAST_PORT);
  });

  it("keeps ports of others out of the pool", () => {
    expect(freePort(FRESH, 22)).toBe(FRESH);
    expect(freePort(FRESH, FIRST_PORT)).toBe(FRESH);
  });
});
