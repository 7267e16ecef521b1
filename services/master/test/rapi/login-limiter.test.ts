import { describe, expect, test } from "vitest";
import { LoginLimiter, network, TooManyFailures } from "../../src/rapi/login-limiter.ts";

const ATTACKER = "192.0.2.66";
const HOME = "198.51.100.7";
const LIMITS = { failures: 3, windowMs: 60_000, longestWaitMs: 10_000 };

function limiter() {
  let nowMs = 1_000_000;
  const subject = new LoginLimiter(LIMITS, () => nowMs);
  const waitOf = (address: string, name = "admin") => {
    try {
      subject.begin(address, name).ended();
      return 0;
    } catch (error) {
      if (error instanceof TooManyFailures) return error.retryAfterS;
      throw error;
    }
  };
  const fail = (address: string, name = "admin") => subject.begin(address, name).failed();
  return {
    subject,
    waitOf,
    fail,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

describe("an address", () => {
  test("waits after its last free failure, each time twice as long, up to the longest", () => {
    const { fail, waitOf, pass } = limiter();
    for (const user of ["a", "b", "c"]) {
      expect(waitOf(ATTACKER, user)).toBe(0);
      fail(ATTACKER, user);
    }
    for (const seconds of [1, 2, 4, 8, 10, 10]) {
      expect(waitOf(ATTACKER, "d")).toBe(seconds);
      pass(seconds * 1000 - 1);
      expect(waitOf(ATTACKER, "d")).toBe(1);
      pass(1);
      fail(ATTACKER, "d");
    }
    expect(waitOf(HOME, "a")).toBe(0);
  });

  test("is forgiven when the window has passed without a failure", () => {
    const { fail, waitOf, pass } = limiter();
    for (let i = 0; i < 4; i++) {
      fail(ATTACKER);
      pass(2_000);
    }
    expect(waitOf(ATTACKER)).toBe(0);
    fail(ATTACKER);
    expect(waitOf(ATTACKER)).toBe(4);
    pass(60_000);
    fail(ATTACKER);
    expect(waitOf(ATTACKER)).toBe(0);
  });

  test("does not get more guesses by making them at once", () => {
    const { subject, waitOf } = limiter();
    const guesses = [1, 2, 3].map(() => subject.begin(ATTACKER, "admin"));
    expect(waitOf(ATTACKER)).toBeGreaterThan(0);
    for (const guess of guesses) guess.failed();
    expect(waitOf(ATTACKER)).toBe(1);
  });

  test("is told once of each wait for the record", () => {
    const { subject, fail } = limiter();
    for (let i = 0; i < 3; i++) fail(ATTACKER);
    const told = [1, 2, 3].map(() => {
      try {
        subject.begin(ATTACKER, "admin");
      } catch (error) {
        return error instanceof TooManyFailures && error.isRepeated;
      }
      return undefined;
    });
    expect(told).toEqual([false, true, true]);
  });
});

test("a name that is guessed at from everywhere stays open to who has not guessed", () => {
  const { fail, waitOf } = limiter();
  for (let i = 1; i <= 3; i++) fail(`203.0.113.${i}`);
  // One guess each is all that these had; another name is not theirs to wait for.
  for (let i = 1; i <= 3; i++) expect(waitOf(`203.0.113.${i}`)).toBe(1);
  expect(waitOf("203.0.113.1", "operator")).toBe(0);
  expect(waitOf(HOME)).toBe(0);
});

test("memory is bounded: addresses used longest ago are forgotten", () => {
  const { fail, waitOf } = limiter();
  for (let i = 0; i < 3; i++) fail(ATTACKER, "first");
  for (let i = 0; i < 10_000; i++) fail(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, `name${i}`);
  expect(waitOf(ATTACKER, "another")).toBe(0);
});

test.for([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8::6", "2001:db8:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
])("%s counts as %s", ([address, expected]) => {
  expect(network(String(address))).toBe(expected);
});
