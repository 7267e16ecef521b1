/** The fake hypervisor's faults on order, and its scale. */
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeHypervisor } from "../../../src/hypervisors/fake/fake-hypervisor.ts";
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
