/**
 * What every hypervisor driver must do, as checks that a test runner runs one by one. A check is given drivers
 * through plain asynchronous functions, so it can be run against a driver's object or against an agent over gRPC.
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { GuestSpec, GuestState } from "../guest.ts";
import type { StopOptions } from "../hypervisor-driver.ts";
import {
  assertGone,
  type CheckedNode,
  type ConformanceDriver,
  FORCED,
  type HypervisorChecks,
  NEVER,
  namedChecks,
  RUNNING,
  stateOf,
} from "./hypervisor-check.ts";

/** A hypervisor on a node, with what the checks need around it. */
export interface HypervisorSubject extends CheckedNode<ConformanceDriver> {
  /** A small guest that this node can run; the same name always gives the same guest. */
  guest(name: string): GuestSpec;
  /** A guest that passes for one until its start, which fails. */
  failingGuest(name: string): GuestSpec;
  /** End a running guest behind the driver's back. */
  crash(guestName: string): Promise<void>;
}

/** Guests of the subject need not obey; this is how long they are given. */
const SOFT: StopOptions = { force: false, timeoutMs: 500 };
const NOTICE_MS = 10_000;

const CHECKS: HypervisorChecks<ConformanceDriver, HypervisorSubject> = {
  "a started guest runs and is listed": async ({ subject, driver, guestName }) => {
    const guest = subject.guest(guestName);
    await driver.validate(guest, NEVER);
    const started = await driver.start(guest, RUNNING, NEVER);
    assert.equal(started.status, "running");
    const state = await stateOf(driver, guestName);
    assert.deepEqual(pick(state), {
      name: guestName,
      uuid: guest.uuid,
      hypervisor: guest.hypervisor,
      status: "running",
    });
    assert.equal(state.memoryMib, guest.startMemoryMib);
    assert.equal(state.vcpus, guest.vcpus);
    assert.deepEqual((await driver.list()).map(pick), [pick(state)]);
    assert.notEqual((await driver.console(guestName)).kind, undefined);
  },

  "a guest started paused stays paused": async ({ subject, driver, guestName }) => {
    assert.equal((await driver.start(subject.guest(guestName), { paused: true }, NEVER)).status, "paused");
    assert.equal((await stateOf(driver, guestName)).status, "paused");
  },

  "starting a running guest answers its state and leaves it alone": async ({ subject, driver, guestName }) => {
    await driver.start(subject.guest(guestName), RUNNING, NEVER);
    const before = await uptimeReaches(driver, guestName, 0.2);
    const again = await driver.start(subject.guest(guestName), RUNNING, NEVER);
    assert.equal(again.status, "running");
    assert.ok(again.uptimeSeconds >= before, "the guest was not started anew");
  },

  "two starts at once make one guest": async ({ subject, driver, guestName }) => {
    const guest = subject.guest(guestName);
    const both = await Promise.all([driver.start(guest, RUNNING, NEVER), driver.start(guest, RUNNING, NEVER)]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ["running", "running"],
    );
    assert.equal((await driver.list()).length, 1);
  },

  "another guest of the same name is refused and disturbs nothing": async ({ subject, driver, guestName }) => {
    const guest = subject.guest(guestName);
    await driver.start(guest, RUNNING, NEVER);
    const other = { ...guest, uuid: "ffffffff-0000-4000-8000-000000000000" };
    await assert.rejects(driver.start(other, RUNNING, NEVER), { name: "HypervisorError" });
    assert.deepEqual(pick(await stateOf(driver, guestName)).uuid, guest.uuid);
  },

  "a soft stop ends the guest": async ({ subject, driver, guestName }) => {
    await driver.start(subject.guest(guestName), RUNNING, NEVER);
    await driver.stop(guestName, SOFT, NEVER);
    await assertGone(driver, guestName);
    assert.deepEqual(await subject.leftovers(), []);
  },

  "a forced stop ends the guest, paused or not": async ({ subject, driver, guestName }) => {
    for (const paused of [false, true]) {
      await driver.start(subject.guest(guestName), { paused }, NEVER);
      await driver.stop(guestName, FORCED, NEVER);
      await assertGone(driver, guestName);
      assert.deepEqual(await subject.leftovers(), []);
    }
  },

  "stopping a guest that is gone or was never there succeeds": async ({ subject, driver, guestName }) => {
    await driver.stop(guestName, SOFT, NEVER);
    await driver.start(subject.guest(guestName), RUNNING, NEVER);
    await driver.stop(guestName, FORCED, NEVER);
    await driver.stop(guestName, FORCED, NEVER);
    await driver.stop(guestName, SOFT, NEVER);
    await assertGone(driver, guestName);
  },

  "a reboot starts the same guest anew": async ({ subject, driver, guestName }) => {
    const guest = subject.guest(guestName);
    await driver.start(guest, RUNNING, NEVER);
    const before = await uptimeReaches(driver, guestName, 1);
    const after = await driver.reboot(guestName, SOFT, NEVER);
    assert.deepEqual(pick(after), {
      name: guestName,
      uuid: guest.uuid,
      hypervisor: guest.hypervisor,
      status: "running",
    });
    assert.ok(after.uptimeSeconds < before, "its uptime begins anew");
    assert.equal((await driver.list()).length, 1);
  },

  "rebooting a guest that does not run is refused": async ({ driver, guestName }) => {
    await assert.rejects(driver.reboot(guestName, SOFT, NEVER), { name: "HypervisorError" });
    await assertGone(driver, guestName);
  },

  "a guest outlives the agent and is found again": async ({ subject, driver, guestName, restart }) => {
    await driver.start(subject.guest(guestName), RUNNING, NEVER);
    const before = await uptimeReaches(driver, guestName, 0.2);
    const next = await restart();
    const found = await stateOf(next, guestName);
    assert.equal(found.status, "running");
    assert.ok(found.uptimeSeconds >= before, "it ran on");
    assert.equal(found.memoryMib, subject.guest(guestName).startMemoryMib);
    assert.equal((await next.start(subject.guest(guestName), RUNNING, NEVER)).status, "running");
    assert.equal((await next.reboot(guestName, FORCED, NEVER)).status, "running");
    await next.stop(guestName, FORCED, NEVER);
    await assertGone(next, guestName);
  },

  "a paused guest is still paused for the next agent": async ({ subject, driver, guestName, restart }) => {
    await driver.start(subject.guest(guestName), { paused: true }, NEVER);
    const next = await restart();
    assert.equal((await stateOf(next, guestName)).status, "paused");
  },

  "a guest that ends by itself is noticed": async ({ subject, driver, guestName }) => {
    await driver.start(subject.guest(guestName), RUNNING, NEVER);
    const noticed = changeOf(driver, guestName);
    await subject.crash(guestName);
    await noticed;
    assert.equal((await stateOf(driver, guestName)).status, "crashed");
    await assert.rejects(driver.console(guestName), { name: "HypervisorError" });
    assert.equal((await driver.start(subject.guest(guestName), RUNNING, NEVER)).status, "running");
  },

  "a guest that ended while no agent ran does not pass for running": async ({
    subject,
    driver,
    guestName,
    restart,
  }) => {
    await driver.start(subject.guest(guestName), RUNNING, NEVER);
    await driver.close();
    await subject.crash(guestName);
    const next = await restart();
    const state = await next.state(guestName);
    assert.ok(state === undefined || state.status === "crashed" || state.status === "shutdown");
    await next.stop(guestName, SOFT, NEVER);
    await assertGone(next, guestName);
  },

  "a start that fails leaves nothing": async ({ subject, driver, guestName }) => {
    await assert.rejects(driver.start(subject.failingGuest(guestName), RUNNING, NEVER), { name: "HypervisorError" });
    await assertGone(driver, guestName);
    assert.deepEqual(await subject.leftovers(), []);
    assert.equal((await driver.start(subject.guest(guestName), RUNNING, NEVER)).status, "running");
  },

  "a start that is aborted leaves nothing": async ({ subject, driver, guestName }) => {
    await assert.rejects(driver.start(subject.guest(guestName), RUNNING, AbortSignal.abort()));
    await assertGone(driver, guestName);
    assert.deepEqual(await subject.leftovers(), []);
  },

  "a name that is no host name is refused": async ({ subject, driver, guestName }) => {
    for (const name of ["../escape", "/etc/passwd", "-rf", "a b", "a\0b", "", "x".repeat(300)]) {
      const guest = { ...subject.guest(guestName), name };
      await assert.rejects(driver.start(guest, RUNNING, NEVER), { name: "HypervisorError" });
      await assert.rejects(driver.stop(name, FORCED, NEVER), { name: "HypervisorError" });
    }
    assert.deepEqual(await driver.list(), []);
  },
};

/** In an order that goes from simple to composed. Each leaves the node as it found it. */
export const HYPERVISOR_CHECKS = namedChecks("conformance", CHECKS);

/** The uptime seen when it had reached the given seconds. */
async function uptimeReaches(driver: ConformanceDriver, guestName: string, seconds: number): Promise<number> {
  for (;;) {
    const { status, uptimeSeconds } = await stateOf(driver, guestName);
    assert.equal(status, "running");
    if (uptimeSeconds >= seconds) return uptimeSeconds;
    await delay(20);
  }
}

/** Resolves when the driver tells of a change after which the guest does not run. */
async function changeOf(driver: ConformanceDriver, guestName: string): Promise<void> {
  const seen = Promise.withResolvers<void>();
  const timer = setTimeout(() => seen.reject(new Error(`${guestName} ended unnoticed`)), NOTICE_MS);
  const unsubscribe = driver.onChange((name) => {
    if (name !== guestName) return;
    driver.state(name).then((state) => {
      if (state?.status !== "running") seen.resolve();
    }, seen.reject);
  });
  try {
    await seen.promise;
  } finally {
    clearTimeout(timer);
    unsubscribe();
  }
}

function pick({ name, uuid, hypervisor, status }: GuestState) {
  return { name, uuid, hypervisor, status };
}
