/** What every driver that can migrate guests must do, between two nodes that this process drives both. */
import assert from "node:assert/strict";
import type { GuestSpec } from "../guest.ts";
import type { MigratingDriver, MigrationProgress } from "../hypervisor-driver.ts";
import {
  assertGone,
  type CheckContext,
  type CheckedNode,
  type ConformanceDriver,
  FORCED,
  type HypervisorCheck,
  NEVER,
  RUNNING,
  runCheck,
  stateOf,
} from "./hypervisor-check.ts";

export type MigrationConformanceDriver = ConformanceDriver & MigratingDriver;

export interface MigrationNode extends CheckedNode<MigrationConformanceDriver> {
  /** As in its certificate. */
  readonly nodeName: string;
  /** By which the other reaches it. */
  readonly address: string;
}

export interface MigrationSubject {
  readonly source: MigrationNode;
  readonly target: MigrationNode;
  /** A small guest that both can run, its disks the same on either; the same name always gives the same guest. */
  guest(name: string): GuestSpec;
}

interface MigrationContext {
  readonly guest: GuestSpec;
  readonly source: CheckContext<MigrationConformanceDriver, MigrationNode>;
  readonly target: CheckContext<MigrationConformanceDriver, MigrationNode>;
}

const CHECKS: Readonly<Record<string, (context: MigrationContext) => Promise<void>>> = {
  "a guest comes to the target and is gone from the source": async ({ guest, source, target }) => {
    const before = await source.driver.start(guest, RUNNING, NEVER);
    const progress = await move(guest, source, target);
    assert.deepEqual(
      new Set(progress.slice(0, -1).map(({ status }) => status)).difference(new Set(["active"])).size,
      0,
    );
    assert.equal(progress.at(-1)?.problem, "");
    const after = await stateOf(target.driver, guest.name);
    assert.deepEqual(
      { uuid: after.uuid, status: after.status, memoryMib: after.memoryMib, vcpus: after.vcpus },
      { uuid: guest.uuid, status: "running", memoryMib: before.memoryMib, vcpus: before.vcpus },
    );
    assert.ok(after.uptimeSeconds >= before.uptimeSeconds, "it was not started anew");
    await assertGone(source.driver, guest.name);
    assert.deepEqual(await source.subject.leftovers(), []);
  },

  "it can go back, be rebooted and be found again by the next agent": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    await move(guest, source, target);
    await move(guest, target, source);
    const next = await source.restart();
    assert.equal((await stateOf(next, guest.name)).status, "running");
    assert.equal((await next.reboot(guest.name, FORCED, NEVER)).status, "running");
    assert.deepEqual(await target.subject.leftovers(), []);
  },

  "before it is finished the guest is the source's": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    await send(guest, source, target);
    await assertGone(target.driver, guest.name);
    assert.deepEqual(
      (await source.driver.list()).map(({ name }) => name),
      [guest.name],
    );
    await assert.rejects(target.driver.start(guest, RUNNING, NEVER), { name: "HypervisorError" });
    await finish(guest, source, target, true);
  },

  "every step may be repeated, by the next agents too": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    const info = await source.driver.migrationInfo(guest.name, NEVER);
    const { address, nodeName } = target.subject;
    const port = await target.driver.acceptMigration(guest, { info, address }, NEVER);
    assert.equal(await target.driver.acceptMigration(guest, { info, address }, NEVER), port);
    let [from, to] = [await source.restart(), await target.restart()];
    for (let times = 0; times < 2; times++) {
      const progress = await all(from.migrate(guest, { address, port, nodeName }, { live: true }, NEVER));
      assert.equal(progress.at(-1)?.status, "completed");
    }
    [from, to] = [await source.restart(), await target.restart()];
    for (let times = 0; times < 2; times++) {
      await to.finishMigrationTarget(guest, true, NEVER);
      await from.finishMigrationSource(guest.name, true, NEVER);
    }
    await assertGone(from, guest.name);
    assert.equal((await stateOf(await target.restart(), guest.name)).status, "running");
  },

  "a paused guest is paused at the target": async ({ guest, source, target }) => {
    await source.driver.start(guest, { paused: true }, NEVER);
    await move(guest, source, target);
    assert.equal((await stateOf(target.driver, guest.name)).status, "paused");
  },

  "one that is given up leaves the guest at the source and nothing at the target": async ({
    guest,
    source,
    target,
  }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    const info = await source.driver.migrationInfo(guest.name, NEVER);
    await target.driver.acceptMigration(guest, { info, address: target.subject.address }, NEVER);
    for (let times = 0; times < 2; times++) await finish(guest, source, target, false);
    assert.equal((await stateOf(source.driver, guest.name)).status, "running");
    assert.deepEqual(await target.subject.leftovers(), []);
    await move(guest, source, target);
  },

  "one that has been sent can be given up, too, the target first": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    await send(guest, source, target);
    await finish(guest, source, target, false);
    assert.equal((await stateOf(source.driver, guest.name)).status, "running");
    assert.deepEqual(await target.subject.leftovers(), []);
  },

  "one whose signal is aborted leaves the guest at the source": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    const info = await source.driver.migrationInfo(guest.name, NEVER);
    const { address, nodeName } = target.subject;
    const port = await target.driver.acceptMigration(guest, { info, address }, NEVER);
    const aborted = all(
      source.driver.migrate(guest, { address, port, nodeName }, { live: true }, AbortSignal.abort()),
    ).then(
      (progress) => assert.equal(progress.at(-1)?.status, "cancelled"),
      (error: Error) => assert.equal(error.name, "HypervisorError"),
    );
    await aborted;
    await finish(guest, source, target, false);
    assert.equal((await stateOf(source.driver, guest.name)).status, "running");
  },

  "success is not believed before the guest has come": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    await assert.rejects(target.driver.finishMigrationTarget(guest, true, NEVER), { name: "HypervisorError" });
    await assert.rejects(source.driver.finishMigrationSource(guest.name, true, NEVER), { name: "HypervisorError" });
    assert.equal((await stateOf(source.driver, guest.name)).status, "running");
  },

  "a guest that runs at the target is not taken for a failure": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    await move(guest, source, target);
    await assert.rejects(target.driver.finishMigrationTarget(guest, false, NEVER), { name: "HypervisorError" });
    await source.driver.finishMigrationSource(guest.name, false, NEVER);
    assert.equal((await stateOf(target.driver, guest.name)).status, "running");
    await assertGone(source.driver, guest.name);
  },

  "a guest that has come is not taken for one that has gone": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    await move(guest, source, target);
    const next = await target.restart();
    await assert.rejects(next.finishMigrationSource(guest.name, true, NEVER), { name: "HypervisorError" });
    await next.finishMigrationSource(guest.name, false, NEVER);
    assert.equal((await stateOf(next, guest.name)).status, "running");
  },

  "what is no guest's information, or another's, is refused": async ({ guest, source, target }) => {
    await source.driver.start(guest, RUNNING, NEVER);
    const info = await source.driver.migrationInfo(guest.name, NEVER);
    const { address } = target.subject;
    const other = { ...guest, uuid: "ffffffff-0000-4000-8000-000000000000" };
    for (const [asked, text] of [
      [guest, ""],
      [guest, "{}"],
      [guest, JSON.stringify({ ...JSON.parse(info), version: 9_999 })],
      [other, info],
    ] as const) {
      await assert.rejects(target.driver.acceptMigration(asked, { info: text, address }, NEVER), {
        name: "HypervisorError",
      });
    }
    assert.deepEqual(await target.subject.leftovers(), []);
  },

  "a guest that does not run, or runs at the target, is not migrated": async ({ guest, source, target }) => {
    await assert.rejects(source.driver.migrationInfo(guest.name, NEVER), { name: "HypervisorError" });
    await source.driver.start(guest, RUNNING, NEVER);
    const info = await source.driver.migrationInfo(guest.name, NEVER);
    const { address } = source.subject;
    await assert.rejects(source.driver.acceptMigration(guest, { info, address }, NEVER), { name: "HypervisorError" });
    assert.equal((await stateOf(source.driver, guest.name)).status, "running");
    const nowhere = { address: target.subject.address, port: 1, nodeName: target.subject.nodeName };
    await assert.rejects(all(target.driver.migrate(guest, nowhere, { live: true }, NEVER)), {
      name: "HypervisorError",
    });
  },
};

/** Each leaves both nodes as it found them. */
export const MIGRATION_CHECKS: readonly HypervisorCheck<MigrationSubject>[] = Object.entries(CHECKS).map(
  ([name, check], index) => ({
    name,
    run: (subject) => {
      const guest = subject.guest(`migration-${index}.example`);
      return runCheck<MigrationConformanceDriver, MigrationNode>(subject.source, guest.name, (source) =>
        runCheck<MigrationConformanceDriver, MigrationNode>(subject.target, guest.name, (target) =>
          check({ guest, source, target }),
        ),
      );
    },
  }),
);

type Side = Pick<CheckContext<MigrationConformanceDriver, MigrationNode>, "driver" | "subject">;

async function send(guest: GuestSpec, source: Side, target: Side): Promise<readonly MigrationProgress[]> {
  const info = await source.driver.migrationInfo(guest.name, NEVER);
  const { address, nodeName } = target.subject;
  const port = await target.driver.acceptMigration(guest, { info, address }, NEVER);
  const progress = await all(source.driver.migrate(guest, { address, port, nodeName }, { live: true }, NEVER));
  assert.equal(progress.at(-1)?.status, "completed");
  return progress;
}

/** The target first, in success and in failure: the source goes on only when nothing can run there any more. */
async function finish(guest: GuestSpec, source: Side, target: Side, succeeded: boolean): Promise<void> {
  await target.driver.finishMigrationTarget(guest, succeeded, NEVER);
  await source.driver.finishMigrationSource(guest.name, succeeded, NEVER);
}

async function move(guest: GuestSpec, source: Side, target: Side): Promise<readonly MigrationProgress[]> {
  const progress = await send(guest, source, target);
  await finish(guest, source, target, true);
  return progress;
}

async function all(progress: AsyncIterable<MigrationProgress>): Promise<readonly MigrationProgress[]> {
  const told: MigrationProgress[] = [];
  for await (const each of progress) told.push(each);
  return told;
}
