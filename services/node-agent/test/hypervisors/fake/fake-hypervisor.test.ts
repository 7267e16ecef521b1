/** The fake hypervisor's faults on order, and its scale. */
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { MigrationProgress } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeHypervisor } from "../../../src/hypervisors/fake/fake-hypervisor.ts";
import { DISK, NIC } from "../kvm/plan-fixture.ts";
import { bareGuest, eventually, makeTestNode, type TestNode } from "../node-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 0 } as const;

let node: TestNode;
let driver: FakeHypervisor;
const guest = (name: string) => bareGuest(name, "fake", HYPERVISOR_DEFAULTS.fake);
const web1 = guest("web1.example");
const web2 = guest("web2.example");

beforeEach(async () => {
  node = await makeTestNode({});
  driver = new FakeHypervisor(node.parts);
  await driver.recover();
});
afterEach(async () => {
  await driver.close();
  await node.remove();
});

async function order(...faults: readonly object[]): Promise<void> {
  const file = path.join(node.parts.stateDir, "fake-hypervisor/faults.json");
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(`${file}.new`, JSON.stringify({ faults }));
  await rename(`${file}.new`, file);
}

async function nextAgent(): Promise<FakeHypervisor> {
  await driver.close();
  driver = new FakeHypervisor(node.parts);
  await driver.recover();
  return driver;
}

describe("faults on order", () => {
  it("strike as often as ordered, and only whom they are for", async () => {
    await order({ operation: "start", guest: web1.name, times: 2, error: "out of luck" });
    await expect(driver.start(web1, RUNNING, NEVER)).rejects.toMatchObject({
      name: "HypervisorError",
      message: "out of luck",
    });
    await driver.start(web2, RUNNING, NEVER);
    await expect(driver.start(web1, RUNNING, NEVER)).rejects.toThrow("out of luck");
    await driver.start(web1, RUNNING, NEVER);
    expect((await driver.list()).map(({ name }) => name).sort()).toEqual([web1.name, web2.name]);
  });

  it.each(["validate", "start", "stop", "reboot"] as const)("can be had for %s", async (operation) => {
    if (operation === "stop" || operation === "reboot") await driver.start(web1, RUNNING, NEVER);
    await order({ operation, error: `no ${operation} today` });
    const operations = {
      validate: () => driver.validate(web1, NEVER),
      start: () => driver.start(web1, RUNNING, NEVER),
      stop: () => driver.stop(web1.name, FORCED, NEVER),
      reboot: () => driver.reboot(web1.name, FORCED, NEVER),
    };
    await expect(operations[operation]()).rejects.toThrow(`no ${operation} today`);
  });

  it("delay an operation, which an abort then ends", async () => {
    await order({ operation: "start", delayMs: 60_000 });
    const abort = new AbortController();
    const starting = driver.start(web1, RUNNING, abort.signal);
    starting.catch(() => {});
    abort.abort();
    await expect(starting).rejects.toMatchObject({ name: "HypervisorError" });
    expect(await driver.state(web1.name)).toBeUndefined();
    expect((await node.files()).filter((file) => file.includes(web1.name))).toEqual([]);
  });

  it("crash a guest some time after its start, in the next agent's life too", async () => {
    await order({ operation: "start", crashAfterMs: 300 });
    expect(await driver.start(web1, RUNNING, NEVER)).toMatchObject({ status: "running" });
    const next = await nextAgent();
    const told: string[] = [];
    next.onChange((name) => told.push(name));
    await eventually(async () => told.length > 0);
    expect(told).toEqual([web1.name]);
    expect(await next.state(web1.name)).toMatchObject({ status: "crashed", memoryMib: 0, uptimeSeconds: 0 });
  });

  it("crash guests that run now", async () => {
    await driver.start(web1, RUNNING, NEVER);
    await driver.start(web2, RUNNING, NEVER);
    await order({ operation: "crash", guest: web2.name });
    await eventually(async () => (await driver.state(web2.name))?.status === "crashed");
    expect(await driver.state(web1.name)).toMatchObject({ status: "running" });
  });

  it("are a clear error when they cannot be read, and none when the file is gone", async () => {
    await order({ operation: "explode" });
    await expect(driver.start(web1, RUNNING, NEVER)).rejects.toMatchObject({
      name: "HypervisorError",
      message: expect.stringMatching(/faults\.json cannot be read/),
    });
    await rm(path.join(node.parts.stateDir, "fake-hypervisor/faults.json"));
    await driver.start(web1, RUNNING, NEVER);
  });
});

describe("the abilities that are optional", () => {
  const disk = { ...DISK, path: "/disk0" };
  let other: TestNode;
  let target: FakeHypervisor;

  beforeEach(async () => {
    other = await makeTestNode({});
    target = new FakeHypervisor(other.parts);
    await target.recover();
    await driver.start(web1, RUNNING, NEVER);
  });
  afterEach(async () => {
    await target.close();
    await other.remove();
  });

  async function send(signal = NEVER): Promise<readonly MigrationProgress[]> {
    const info = await driver.migrationInfo(web1.name, NEVER);
    const port = await target.acceptMigration(web1, { info, address: "127.0.0.1" }, NEVER);
    const told: MigrationProgress[] = [];
    const to = { address: "127.0.0.1", port, nodeName: "node2.example" };
    for await (const progress of driver.migrate(web1, to, { live: true }, signal)) told.push(progress);
    return told;
  }

  it("carry a guest's memory and uptime to the other node", async () => {
    await driver.setMemory(web1.name, 24, NEVER);
    const before = await eventually(async () => {
      const state = await driver.state(web1.name);
      return (state?.uptimeSeconds ?? 0) > 0.2 && state;
    });
    expect((await send()).map(({ status }) => status)).toEqual(["completed"]);
    await target.finishMigrationTarget(web1, true, NEVER);
    await driver.finishMigrationSource(web1.name, true, NEVER);
    const after = await target.state(web1.name);
    expect(after).toMatchObject({ status: "running", memoryMib: 24, vcpus: 2 });
    expect(after?.uptimeSeconds).toBeGreaterThanOrEqual(before.uptimeSeconds);
    expect(await driver.state(web1.name)).toBeUndefined();
  });

  it("give every incoming migration its own port", async () => {
    await driver.start(web2, RUNNING, NEVER);
    const ports = await Promise.all(
      [web1, web2].map(async (each) => {
        const info = await driver.migrationInfo(each.name, NEVER);
        return target.acceptMigration(each, { info, address: "127.0.0.1" }, NEVER);
      }),
    );
    expect(new Set(ports).size).toBe(2);
  });

  it("fail and take their time as ordered, the guest where it was", async () => {
    await order({ operation: "migrate", delayMs: 700, error: "the line is cut" });
    const progress = await send();
    expect(progress.map(({ status }) => status)).toEqual(["active", "active", "failed"]);
    expect(progress[1]?.transferredBytes).toBeGreaterThan(progress[0]?.transferredBytes ?? Number.NaN);
    expect(progress.at(-1)?.problem).toBe("the line is cut");
    expect(await driver.state(web1.name)).toMatchObject({ status: "running" });
    await order({ operation: "migrate", delayMs: 60_000 });
    expect((await send(AbortSignal.timeout(100))).at(-1)?.status).toBe("cancelled");
    expect(await driver.state(web1.name)).toMatchObject({ status: "running" });
  });

  const operations: Readonly<Record<string, () => Promise<unknown>>> = {
    migrationInfo: () => driver.migrationInfo(web1.name, NEVER),
    acceptMigration: () => driver.acceptMigration(web2, { info: "", address: "127.0.0.1" }, NEVER),
    finishMigrationSource: () => driver.finishMigrationSource(web1.name, false, NEVER),
    finishMigrationTarget: () => driver.finishMigrationTarget(web2, false, NEVER),
    setMemory: () => driver.setMemory(web1.name, 24, NEVER),
    checkHotplug: () => driver.checkHotplug(web1.name, NEVER),
    plug: () => driver.plug(web1.name, { kind: "disk", disk }, NEVER),
    unplug: () => driver.unplug(web1.name, { kind: "disk", disk }, NEVER),
  };
  it.each(Object.keys(operations))("can be had to fail: %s", async (operation) => {
    await order({ operation, times: 1, error: `no ${operation} today` });
    await expect(operations[operation]?.()).rejects.toThrow(`no ${operation} today`);
    expect(await driver.state(web1.name)).toMatchObject({ status: "running", memoryMib: 32 });
  });

  it("remember the devices that came and went", async () => {
    await driver.plug(web1.name, { kind: "disk", disk }, NEVER);
    await driver.plug(web1.name, { kind: "nic", nic: NIC }, NEVER);
    await driver.resizeDisk(web1.name, { ...disk, sizeMib: 9 }, NEVER);
    await driver.replug(web1.name, { kind: "nic", nic: { ...NIC, link: "br9" } }, NEVER);
    const next = await nextAgent();
    const info = JSON.parse(await next.migrationInfo(web1.name, NEVER));
    expect(info.guest).toMatchObject({ disks: [{ uuid: disk.uuid, sizeMib: 9 }], nics: [{ link: "br9" }] });
    await next.unplug(web1.name, { kind: "disk", disk }, NEVER);
    expect(JSON.parse(await next.migrationInfo(web1.name, NEVER)).guest.disks).toEqual([]);
  });
});

it("a name that is too long for a file has a file all the same", async () => {
  const long = guest(`${"x".repeat(60)}.${"y".repeat(60)}.${"z".repeat(60)}.${"w".repeat(60)}`);
  await driver.start(long, RUNNING, NEVER);
  expect(await (await nextAgent()).state(long.name)).toMatchObject({ status: "running" });
  await driver.stop(long.name, FORCED, NEVER);
  expect(await (await nextAgent()).list()).toEqual([]);
});

it("a thousand guests start, are found again, and are listed without reading a file", async () => {
  const names = Array.from({ length: 1_000 }, (_, index) => `guest${index}.example`);
  await Promise.all(names.map((name) => driver.start(guest(name), RUNNING, NEVER)));
  const next = await nextAgent();
  await rm(path.join(node.parts.stateDir, "fake-hypervisor/guests"), { recursive: true });
  const states = await next.list();
  expect(states.filter(({ status, memoryMib }) => status === "running" && memoryMib === 32)).toHaveLength(1_000);
});
