/** How checks of hypervisor drivers are written and run, whichever ability they ask for. */
import assert from "node:assert/strict";
import type { GuestState } from "../guest.ts";
import type { HypervisorDriver, StopOptions } from "../hypervisor-driver.ts";

/** The part of a driver that the checks use. Over gRPC an unknown guest's state may be one with status shutdown. */
export type ConformanceDriver = Pick<
  HypervisorDriver,
  "recover" | "validate" | "start" | "stop" | "reboot" | "state" | "list" | "console" | "onChange" | "close"
>;

export interface CheckedNode<Driver extends ConformanceDriver> {
  /** A new driver on the same node and state. The one before has been closed. */
  open(): Promise<Driver>;
  /** Processes, files and interfaces on the node that belong to guests of this subject, each in words. */
  leftovers(): Promise<readonly string[]>;
}

export interface HypervisorCheck<Subject> {
  readonly name: string;
  /** @throws AssertionError, or whatever the driver threw */
  readonly run: (subject: Subject) => Promise<void>;
}

export interface CheckContext<Driver extends ConformanceDriver, Subject> {
  readonly subject: Subject;
  /** For this check alone. */
  readonly guestName: string;
  /** The present driver. */
  readonly driver: Driver;
  /** The agent ends and starts again. */
  restart(): Promise<Driver>;
}

export type HypervisorChecks<Driver extends ConformanceDriver, Subject> = Readonly<
  Record<string, (context: CheckContext<Driver, Subject>) => Promise<void>>
>;

export const NEVER = new AbortController().signal;
export const RUNNING = { paused: false } as const;
export const FORCED: StopOptions = { force: true, timeoutMs: 10_000 };

/** @param suite distinguishes the names of its guests from those of other suites */
export function namedChecks<Driver extends ConformanceDriver, Subject extends CheckedNode<Driver>>(
  suite: string,
  checks: HypervisorChecks<Driver, Subject>,
): readonly HypervisorCheck<Subject>[] {
  return Object.entries(checks).map(([name, check], index) => ({
    name,
    run: (subject) => runCheck(subject, `${suite}-${index}.example`, check),
  }));
}

/** Whatever the check leaves of its guest is stopped; then nothing may be left on the node. */
export async function runCheck<Driver extends ConformanceDriver, Subject extends CheckedNode<Driver>>(
  subject: Subject,
  guestName: string,
  check: (context: CheckContext<Driver, Subject>) => Promise<void>,
): Promise<void> {
  let driver = await subject.open();
  await driver.recover();
  async function restart(): Promise<Driver> {
    await driver.close();
    driver = await subject.open();
    await driver.recover();
    return driver;
  }
  try {
    await check({ subject, guestName, driver, restart });
    await driver.stop(guestName, FORCED, NEVER);
    assert.deepEqual(await subject.leftovers(), [], "nothing is left on the node");
  } finally {
    await driver.stop(guestName, FORCED, NEVER).catch(() => {});
    await driver.close();
  }
}

export async function stateOf(driver: ConformanceDriver, guestName: string): Promise<GuestState> {
  const state = await driver.state(guestName);
  assert.ok(state !== undefined, `the driver knows ${guestName}`);
  return state;
}

export async function assertGone(driver: ConformanceDriver, guestName: string): Promise<void> {
  const state = await driver.state(guestName);
  assert.ok(state === undefined || state.status === "shutdown", `${guestName} is gone`);
  const listed = (await driver.list()).map(({ name }) => name);
  assert.deepEqual(
    listed.filter((name) => name === guestName),
    [],
  );
}
