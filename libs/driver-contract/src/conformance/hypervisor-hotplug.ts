/** What every driver must do that changes the memory or the devices of running guests. */
import assert from "node:assert/strict";
import type { GuestSpec } from "../guest.ts";
import type { BallooningDriver, HotplugDevice, HotpluggingDriver } from "../hypervisor-driver.ts";
import {
  type CheckedNode,
  type ConformanceDriver,
  FORCED,
  type HypervisorChecks,
  NEVER,
  namedChecks,
  RUNNING,
  stateOf,
} from "./hypervisor-check.ts";

export type BallooningConformanceDriver = ConformanceDriver & BallooningDriver;
export type HotpluggingConformanceDriver = ConformanceDriver & HotpluggingDriver;

export interface ChangingSubject<Driver extends ConformanceDriver> extends CheckedNode<Driver> {
  /** A guest that takes part in such changes; the same name always gives the same guest. */
  guest(name: string): GuestSpec;
  /** Resolves when a guest that was just started, or rebooted, can take part. */
  ready(driver: Driver, guestName: string): Promise<void>;
}

export interface HotplugSubject extends ChangingSubject<HotpluggingConformanceDriver> {
  /** One that the guest has not yet, for its first disk or NIC; always the same. */
  device(kind: HotplugDevice["kind"]): Promise<HotplugDevice>;
}

/** Each leaves the node as it found it. */
export const BALLOONING_CHECKS = namedChecks("balloon", {
  "memory goes down and up, and stays so with the next agent": async ({ subject, driver, guestName, restart }) => {
    const { startMemoryMib } = await started(subject, driver, guestName);
    const lessMib = startMemoryMib - 16;
    for (let times = 0; times < 2; times++) await driver.setMemory(guestName, lessMib, NEVER);
    assert.equal((await stateOf(driver, guestName)).memoryMib, lessMib);
    const next = await restart();
    assert.equal((await stateOf(next, guestName)).memoryMib, lessMib);
    await next.setMemory(guestName, startMemoryMib, NEVER);
    assert.equal((await stateOf(next, guestName)).memoryMib, startMemoryMib);
  },

  "more than the guest may have, nothing, and a guest that does not run are refused": async ({
    subject,
    driver,
    guestName,
  }) => {
    const guest = subject.guest(guestName);
    await assert.rejects(driver.setMemory(guestName, guest.startMemoryMib, NEVER), { name: "HypervisorError" });
    await driver.start(guest, RUNNING, NEVER);
    for (const memoryMib of [guest.maxMemoryMib + 1, 0])
      await assert.rejects(driver.setMemory(guestName, memoryMib, NEVER), { name: "HypervisorError" });
    assert.equal((await stateOf(driver, guestName)).memoryMib, guest.startMemoryMib);
  },
} satisfies HypervisorChecks<BallooningConformanceDriver, ChangingSubject<BallooningConformanceDriver>>);

export const HOTPLUG_CHECKS = namedChecks("hotplug", {
  "devices come, stay over a reboot and the next agent, and go; every step may be repeated": async ({
    subject,
    driver,
    guestName,
    restart,
  }) => {
    await started(subject, driver, guestName);
    await driver.checkHotplug(guestName, NEVER);
    const devices = [await subject.device("disk"), await subject.device("nic")];
    for (const device of [...devices, ...devices]) await driver.plug(guestName, device, NEVER);
    const next = await restart();
    await next.reboot(guestName, FORCED, NEVER);
    await subject.ready(next, guestName);
    for (const device of devices) if (device.kind === "nic") await next.replug(guestName, device, NEVER);
    for (const device of [...devices, ...devices]) await next.unplug(guestName, device, NEVER);
    for (const device of devices)
      await assert.rejects(next.replug(guestName, device, NEVER), { name: "HypervisorError" });
    assert.equal((await stateOf(next, guestName)).status, "running");
  },

  "a guest that does not run has no devices to change": async ({ subject, driver, guestName }) => {
    const refusal = { name: "HypervisorError" };
    await assert.rejects(driver.checkHotplug(guestName, NEVER), refusal);
    for (const device of [await subject.device("disk"), await subject.device("nic")]) {
      await assert.rejects(driver.plug(guestName, device, NEVER), refusal);
      await assert.rejects(driver.unplug(guestName, device, NEVER), refusal);
      await assert.rejects(driver.replug(guestName, device, NEVER), refusal);
      if (device.kind === "disk") await assert.rejects(driver.resizeDisk(guestName, device.disk, NEVER), refusal);
    }
  },
} satisfies HypervisorChecks<HotpluggingConformanceDriver, HotplugSubject>);

async function started<Driver extends ConformanceDriver>(
  subject: ChangingSubject<Driver>,
  driver: Driver,
  guestName: string,
): Promise<GuestSpec> {
  const guest = subject.guest(guestName);
  await driver.start(guest, RUNNING, NEVER);
  await subject.ready(driver, guestName);
  return guest;
}
