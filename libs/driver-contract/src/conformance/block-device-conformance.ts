/**
 * What every block-device driver does, whatever its template. The checks know no test runner, so that the same ones
 * run in-process, against an agent over gRPC, and in the lab against real devices.
 */
import assert from "node:assert/strict";
import { BlockDeviceError, FileStoragePathError } from "@gannet/errors";
import type { AttachedDevice, BlockDeviceDriver, BlockDeviceSpec } from "../block-device-driver.ts";

/** A driver with what all checks need around it. */
export interface StorageSubject {
  readonly driver: BlockDeviceDriver;
  /** A disk at a place of its own that does not exist yet, of at least 2 MiB. */
  newDevice(): BlockDeviceSpec;
  /** The same disk's specification with another logical id, none of which may ever be created. */
  hostileDevices(): readonly BlockDeviceSpec[];
  /** Names of everything the storage holds, in a fixed order. */
  inventory(): Promise<readonly string[]>;
  /** Write at the beginning of an assembled disk. */
  write(attached: AttachedDevice, text: string): Promise<void>;
  /** Read as many bytes from the beginning of an assembled disk. */
  read(attached: AttachedDevice, bytes: number): Promise<string>;
}

/** A driver that makes its devices. */
export interface BlockDeviceSubject extends StorageSubject {
  /** Put something at the disk's place that is not this disk. */
  occupy(device: BlockDeviceSpec): Promise<Occupation>;
}

/** A driver whose devices are there before it is asked for them. */
export interface GivenDeviceSubject extends StorageSubject {
  /** The disk of such a device, with its size in whole MiB, at least 2; always the same. */
  givenDevice(): Promise<BlockDeviceSpec>;
}

/** A thing that stands where a disk should come. */
export interface Occupation {
  isUntouched(): Promise<boolean>;
  clear(): Promise<void>;
}

export interface BlockDeviceCheck<Subject extends StorageSubject> {
  readonly name: string;
  /** @throws AssertionError, or whatever the driver threw */
  readonly run: (subject: Subject) => Promise<void>;
}

const CONTENTS = "these bytes must survive";

/** What holds of every driver, also of one whose devices are made elsewhere. */
const COMMON_CHECKS: readonly BlockDeviceCheck<StorageSubject>[] = [
  check("a disk that was never created does not exist and cannot be used", async ({ driver }, device) => {
    assert.deepEqual(await driver.status(device, never()), { exists: false, sizeMib: 0 });
    await assert.rejects(driver.assemble(device, never()), BlockDeviceError);
    await assert.rejects(driver.grow(device, device.sizeMib + 1, never()), BlockDeviceError);
  }),

  check("removing and deactivating a disk that never was succeeds", async ({ driver }, device) => {
    await driver.shutdown(device, never());
    await driver.remove(device, never());
  }),

  check("impossible sizes are refused and leave nothing", async (subject, device) => {
    const { driver } = subject;
    const before = await subject.inventory();
    for (const sizeMib of [0, 2 ** 63]) {
      await assert.rejects(driver.create({ ...device, sizeMib }, never()), BlockDeviceError, `${sizeMib} MiB`);
      assert.deepEqual(await subject.inventory(), before, `${sizeMib} MiB`);
    }
  }),

  check("hostile places are refused by every operation and leave nothing", async (subject) => {
    const { driver } = subject;
    const before = await subject.inventory();
    const operations: readonly ((device: BlockDeviceSpec) => Promise<unknown>)[] = [
      (device) => driver.create(device, never()),
      (device) => driver.assemble(device, never()),
      (device) => driver.grow(device, device.sizeMib + 1, never()),
      (device) => driver.status(device, never()),
      (device) => driver.remove(device, never()),
    ];
    for (const device of subject.hostileDevices()) {
      for (const operation of operations)
        await assert.rejects(() => operation(device), isRefusal, JSON.stringify(device.logicalId));
      assert.deepEqual(await subject.inventory(), before, JSON.stringify(device.logicalId));
    }
  }),

  check("an aborted create fails and leaves nothing", async (subject, device) => {
    const before = await subject.inventory();
    await assert.rejects(subject.driver.create(device, AbortSignal.abort(new Error("the job was stopped"))));
    assert.deepEqual(await subject.inventory(), before);
  }),

  check("space is reported in whole MiB, free within total", async ({ driver }) => {
    for (const { totalMib, freeMib, name } of await driver.space(never())) {
      assert.ok(Number.isSafeInteger(totalMib) && Number.isSafeInteger(freeMib), name);
      assert.ok(freeMib >= 0 && freeMib <= totalMib, `${name}: ${freeMib} of ${totalMib} MiB`);
    }
  }),
];

/** Each makes its own devices, and leaves the storage as it found it. */
export const BLOCK_DEVICE_CHECKS: readonly BlockDeviceCheck<BlockDeviceSubject>[] = [
  ...COMMON_CHECKS,

  check("a created disk exists with the size asked for", async ({ driver }, device) => {
    await driver.create(device, never());
    assert.deepEqual(await driver.status(device, never()), { exists: true, sizeMib: device.sizeMib });
  }),

  check("creating a disk again succeeds and keeps its contents", async (subject, device) => {
    const { driver } = subject;
    await driver.create(device, never());
    await subject.write(await driver.assemble(device, never()), CONTENTS);
    await driver.create(device, never());
    assert.equal(await contentsOf(subject, device), CONTENTS);
  }),

  check("contents survive deactivation, and activation may be repeated", async (subject, device) => {
    const { driver } = subject;
    await driver.create(device, never());
    const attached = await driver.assemble(device, never());
    await subject.write(attached, CONTENTS);
    assert.deepEqual(await driver.assemble(device, never()), attached);
    await driver.shutdown(device, never());
    await driver.shutdown(device, never());
    assert.equal(await contentsOf(subject, device), CONTENTS);
  }),

  check("a removed disk is gone, and removing it again succeeds", async ({ driver }, device) => {
    await driver.create(device, never());
    await driver.remove(device, never());
    assert.deepEqual(await driver.status(device, never()), { exists: false, sizeMib: 0 });
    await driver.remove(device, never());
  }),

  check("the place of a removed disk can be used by another", async (subject, device) => {
    const { driver } = subject;
    const successor = another(device, subject);
    await driver.create(device, never());
    await driver.remove(device, never());
    await driver.create(successor, never());
    assert.deepEqual(await driver.status(successor, never()), { exists: true, sizeMib: device.sizeMib });
    await driver.remove(successor, never());
  }),

  check("growing keeps the contents, may be repeated, and never goes back", async (subject, device) => {
    const { driver } = subject;
    const larger = device.sizeMib + 3;
    await driver.create(device, never());
    await subject.write(await driver.assemble(device, never()), CONTENTS);
    await driver.grow(device, larger, never());
    await driver.grow(device, larger, never());
    await assert.rejects(driver.grow(device, device.sizeMib, never()), BlockDeviceError);
    assert.deepEqual(await driver.status(device, never()), { exists: true, sizeMib: larger });
    assert.equal(await contentsOf(subject, device), CONTENTS);
  }),

  check("creating a disk that has grown never makes it smaller", async (subject, device) => {
    const { driver } = subject;
    await driver.create(device, never());
    await driver.grow(device, device.sizeMib + 2, never());
    await driver.create(device, never()).catch(refusal);
    assert.deepEqual(await driver.status(device, never()), { exists: true, sizeMib: device.sizeMib + 2 });
  }),

  check("removing one disk leaves its neighbour alone", async (subject, device) => {
    const { driver } = subject;
    const neighbour = subject.newDevice();
    await driver.create(device, never());
    await driver.create(neighbour, never());
    await subject.write(await driver.assemble(neighbour, never()), CONTENTS);
    await driver.remove(device, never());
    assert.equal(await contentsOf(subject, neighbour), CONTENTS);
    await driver.remove(neighbour, never());
  }),

  check("what is at a disk's place and is not the disk is refused and never touched", async (subject, device) => {
    const { driver } = subject;
    const occupation = await subject.occupy(device);
    const before = await subject.inventory();
    await assert.rejects(driver.create(device, never()), BlockDeviceError);
    assert.ok(await occupation.isUntouched(), "the create changed it");
    assert.deepEqual(await subject.inventory(), before);
    // The undo of a failed create; it may refuse, and must not destroy.
    await driver.remove(device, never()).catch(refusal);
    assert.ok(await occupation.isUntouched(), "the removal changed it");
    await occupation.clear();
  }),

  check("another disk at the same place is refused and keeps its contents", async (subject, device) => {
    const { driver } = subject;
    const usurper = another(device, subject);
    await driver.create(device, never());
    await subject.write(await driver.assemble(device, never()), CONTENTS);
    await assert.rejects(driver.create(usurper, never()), BlockDeviceError);
    await assert.rejects(driver.assemble(usurper, never()), BlockDeviceError);
    await assert.rejects(driver.grow(usurper, device.sizeMib + 1, never()), BlockDeviceError);
    await driver.remove(usurper, never()).catch(refusal);
    assert.deepEqual(await driver.status(device, never()), { exists: true, sizeMib: device.sizeMib });
    assert.equal(await contentsOf(subject, device), CONTENTS);
  }),
];

/** Of drivers that make no devices, and are given them: the ones that a subject's `newDevice` names are not there. */
export const GIVEN_DEVICE_CHECKS: readonly BlockDeviceCheck<GivenDeviceSubject>[] = [
  ...COMMON_CHECKS,

  givenCheck("a given device is taken as it is, with its contents", async (subject, device) => {
    const { driver } = subject;
    const attached = await driver.assemble(device, never());
    await subject.write(attached, CONTENTS);
    await driver.create(device, never());
    await driver.create({ ...device, sizeMib: 1 }, never());
    assert.deepEqual(await driver.status(device, never()), { exists: true, sizeMib: device.sizeMib });
    assert.deepEqual(await driver.assemble(device, never()), attached);
    assert.equal(await contentsOf(subject, device), CONTENTS);
  }),

  givenCheck("a given device outlives the disk that it was", async (subject, device) => {
    const { driver } = subject;
    await subject.write(await driver.assemble(device, never()), CONTENTS);
    for (let times = 0; times < 2; times++) {
      await driver.shutdown(device, never());
      await driver.remove(device, never());
    }
    assert.equal(await contentsOf(subject, device), CONTENTS);
  }),

  givenCheck("a given device is not taken for a larger one, nor made one", async ({ driver }, device) => {
    const larger = device.sizeMib + 1;
    await assert.rejects(driver.create({ ...device, sizeMib: larger }, never()), BlockDeviceError);
    await assert.rejects(driver.grow(device, larger, never()), BlockDeviceError);
    assert.deepEqual(await driver.status(device, never()), { exists: true, sizeMib: device.sizeMib });
  }),
];

/** Give the check a device, and hold the driver to leaving the storage as it was when the device is removed again. */
function check<Subject extends StorageSubject>(
  name: string,
  body: (subject: Subject, device: BlockDeviceSpec) => Promise<void>,
): BlockDeviceCheck<Subject> {
  return {
    name,
    run: async (subject) => {
      const device = subject.newDevice();
      const before = await subject.inventory();
      await body(subject, device);
      await subject.driver.shutdown(device, never());
      await subject.driver.remove(device, never());
      assert.deepEqual(await subject.inventory(), before, "something is left after the disk was removed");
    },
  };
}

function givenCheck(
  name: string,
  body: (subject: GivenDeviceSubject, device: BlockDeviceSpec) => Promise<void>,
): BlockDeviceCheck<GivenDeviceSubject> {
  return {
    name,
    run: async (subject) => {
      const device = await subject.givenDevice();
      const before = await subject.inventory();
      await body(subject, device);
      assert.deepEqual(await subject.inventory(), before, "the storage has changed");
    },
  };
}

/** Another disk at the same place: its volumes are others, too. */
function another(device: BlockDeviceSpec, subject: StorageSubject): BlockDeviceSpec {
  const uuid = () => subject.newDevice().uuid;
  return { ...device, uuid: uuid(), children: device.children.map((child) => ({ ...child, uuid: uuid() })) };
}

async function contentsOf(subject: StorageSubject, device: BlockDeviceSpec): Promise<string> {
  return subject.read(await subject.driver.assemble(device, never()), CONTENTS.length);
}

function isRefusal(error: unknown): boolean {
  return error instanceof BlockDeviceError || error instanceof FileStoragePathError;
}

/** For `.catch`, where an operation may succeed or refuse, but nothing else. */
function refusal(error: unknown): void {
  if (!isRefusal(error)) throw error;
}

function never(): AbortSignal {
  return new AbortController().signal;
}
