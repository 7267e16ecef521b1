/** What every driver that can save guests must do. */
import assert from "node:assert/strict";
import type { GuestSpec } from "../guest.ts";
import type { SavingDriver } from "../hypervisor-driver.ts";
import {
  assertGone,
  type CheckedNode,
  type ConformanceDriver,
  FORCED,
  NEVER,
  namedChecks,
  RUNNING,
  stateOf,
} from "./hypervisor-check.ts";

export type SavingConformanceDriver = ConformanceDriver & SavingDriver;

export interface SavingSubject extends CheckedNode<SavingConformanceDriver> {
  /** A small guest; the same name always gives the same guest. */
  guest(name: string): GuestSpec;
}

const refused = { name: "HypervisorError" } as const;

/** Each leaves the node as it found it. */
export const SAVING_CHECKS = namedChecks<SavingConformanceDriver, SavingSubject>("saving", {
  "a saved guest goes on, with its time, for the next agent too": async ({ subject, guestName, driver, restart }) => {
    const guest = subject.guest(guestName);
    const before = await driver.start(guest, RUNNING, NEVER);
    for (let times = 0; times < 2; times++) await driver.save(guestName, NEVER);
    const { status, memoryMib } = await stateOf(driver, guestName);
    assert.deepEqual({ status, memoryMib }, { status: "paused", memoryMib: 0 });
    const next = await restart();
    assert.equal((await stateOf(next, guestName)).status, "paused");
    const after = await next.restore(guest, RUNNING, NEVER);
    assert.deepEqual(
      { uuid: after.uuid, status: after.status, memoryMib: after.memoryMib },
      { uuid: guest.uuid, status: "running", memoryMib: before.memoryMib },
    );
    assert.ok(after.uptimeSeconds >= before.uptimeSeconds, "it was not started anew");
    assert.equal((await next.restore(guest, RUNNING, NEVER)).status, "running");
    assert.equal((await stateOf(await restart(), guestName)).status, "running");
  },

  "it can be restored paused, and let go on by the same call": async ({ subject, guestName, driver }) => {
    const guest = subject.guest(guestName);
    await driver.start(guest, RUNNING, NEVER);
    await driver.save(guestName, NEVER);
    assert.equal((await driver.restore(guest, { paused: true }, NEVER)).status, "paused");
    assert.equal((await stateOf(driver, guestName)).status, "paused");
    assert.equal((await driver.restore(guest, RUNNING, NEVER)).status, "running");
  },

  "a saved guest is not started, and a stop gives it up": async ({ subject, guestName, driver }) => {
    const guest = subject.guest(guestName);
    await driver.start(guest, RUNNING, NEVER);
    await driver.save(guestName, NEVER);
    await assert.rejects(driver.start(guest, RUNNING, NEVER), refused);
    await driver.stop(guestName, FORCED, NEVER);
    await assertGone(driver, guestName);
    assert.deepEqual(await subject.leftovers(), []);
    await assert.rejects(driver.restore(guest, RUNNING, NEVER), refused);
    assert.equal((await driver.start(guest, RUNNING, NEVER)).status, "running");
  },

  "one that does not run, or that is another's, is refused": async ({ subject, guestName, driver }) => {
    const guest = subject.guest(guestName);
    await assert.rejects(driver.save(guestName, NEVER), refused);
    await assert.rejects(driver.restore(guest, RUNNING, NEVER), refused);
    assert.deepEqual(await subject.leftovers(), []);
    await driver.start(guest, RUNNING, NEVER);
    await assert.rejects(driver.save(guestName, AbortSignal.abort()), refused);
    assert.equal((await stateOf(driver, guestName)).status, "running");
    await driver.save(guestName, NEVER);
    const other = { ...guest, uuid: "ffffffff-0000-4000-8000-000000000000" };
    await assert.rejects(driver.restore(other, RUNNING, NEVER), refused);
    assert.equal((await driver.restore(guest, RUNNING, NEVER)).status, "running");
  },
});
