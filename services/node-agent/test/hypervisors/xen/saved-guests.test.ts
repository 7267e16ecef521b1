/** Guests that are saved to a file when things go wrong, or the agent ends in between. */
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { endLeftoverCommands } from "@gannet/exec";
import { afterEach, beforeEach, expect, it } from "vitest";
import { clearFault, setFault, type ToolFault } from "../../../../../test/simulated-tools/faults.ts";
import { FLAGS, withXen } from "../../../../../test/simulated-tools/xen/state.ts";
import type { XenHypervisor } from "../../../src/hypervisors/xen/xen-hypervisor.ts";
import { eventually } from "../node-fixture.ts";
import { makeXenNode, type XenNode } from "./xen-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;
const NAME = "web1.example";

let xen: XenNode;
let driver: XenHypervisor;

beforeEach(async () => {
  xen = await makeXenNode();
  driver = xen.driver("xen-pvm");
  await driver.recover();
});
afterEach(async () => {
  await driver.close();
  await xen.node.remove();
});

const guest = (saveMs = 0) => xen.guest("xen-pvm", NAME, { kernel_args: `simulated-round-ms=${saveMs}` });
const fault = (command: string, what: ToolFault) => setFault(xen.folder, `xl-${command}`, what);
const flags = () => withXen(xen.folder, ({ domains }) => domains.map((each) => `${each.name} ${each.flags}`));
const savedFolder = () => path.join(xen.node.parts.stateDir, "xen-hypervisor/xen-pvm/saved");

async function nextAgent(): Promise<void> {
  await driver.close();
  await endLeftoverCommands(xen.commandRecords, xen.node.parts.logger);
  driver = xen.driver("xen-pvm");
  await driver.recover();
}

async function saved(): Promise<void> {
  await driver.start(guest(), RUNNING, NEVER);
  await driver.save(NAME, NEVER);
}

it("what is saved is for its user alone, and all that is left but the guest's record", async () => {
  await saved();
  expect(await readdir(savedFolder())).toEqual([NAME]);
  expect((await stat(savedFolder())).mode & 0o777).toBe(0o700);
  const { mode, size } = await stat(path.join(savedFolder(), NAME));
  expect({ mode: mode & 0o777, isEmpty: size === 0 }).toEqual({ mode: 0o600, isEmpty: false });
  expect(await xen.leftovers()).toHaveLength(2);
});

it.each<[string, ToolFault]>([
  ["fails", { answer: { exitCode: 1, stderr: "no space left\n" } }],
  ["ends well with the guest still there", { answer: { exitCode: 0 } }],
])("a save that %s leaves the guest running and no file", async (_what, what) => {
  await driver.start(guest(), RUNNING, NEVER);
  const before = await xen.leftovers();
  fault("save", what);
  await expect(driver.save(NAME, NEVER)).rejects.toThrow(/no space left|still lists it/);
  expect(await driver.state(NAME)).toMatchObject({ status: "running" });
  expect((await xen.leftovers()).filter((file) => !file.endsWith(".log"))).toEqual(before);
  clearFault(xen.folder, "xl-save");
  await driver.save(NAME, NEVER);
});

it("a guest that Xen's command lost in the middle is not taken for a saved one", async () => {
  await driver.start(guest(), RUNNING, NEVER);
  fault("save", { when: "after", answer: { exitCode: 1 } });
  await expect(driver.save(NAME, NEVER)).rejects.toThrow(/could not save/);
  expect(await driver.state(NAME)).toMatchObject({ status: "crashed" });
  expect(await readdir(savedFolder())).toEqual([]);
});

it.each<[string, ToolFault]>([
  ["Xen refuses", { answer: { exitCode: 3, stderr: "no memory\n" } }],
  ["fails when it is done", { when: "after", answer: { exitCode: 1, stderr: "no memory\n" } }],
  ["ends well without a domain", { answer: { exitCode: 0 } }],
])("a restore that %s keeps what was saved, and can be repeated", async (_what, what) => {
  await saved();
  const before = await xen.leftovers();
  fault("restore", what);
  await expect(driver.restore(guest(), RUNNING, NEVER)).rejects.toThrow(/no memory|does not list/);
  expect(await xen.leftovers()).toEqual(before);
  expect(await driver.state(NAME)).toMatchObject({ status: "paused" });
  clearFault(xen.folder, "xl-restore");
  expect(await driver.restore(guest(), RUNNING, NEVER)).toMatchObject({ status: "running" });
  expect(await readdir(savedFolder())).toEqual([]);
});

it("disks are at their places before the guest is restored", async () => {
  const disk = { uuid: guest().uuid, index: 0, name: null, kind: "block", format: "raw", access: "rw" } as const;
  const on = (device: string) => ({ ...guest(), disks: [{ ...disk, path: device, sizeMib: 8 } as const] });
  await driver.start(on("/dev/drbd7"), RUNNING, NEVER);
  await driver.save(NAME, NEVER);
  fault("restore", { hang: true });
  const abort = new AbortController();
  const restoring = driver.restore(on("/dev/drbd9"), RUNNING, abort.signal);
  restoring.catch(() => {});
  const links = path.join(xen.node.parts.stateDir, "disks");
  await eventually(async () => (await readdir(links)).includes(`${NAME}:0`) && (await restoresRun()));
  abort.abort();
  await expect(restoring).rejects.toThrow(/aborted/);
  expect(await readdir(links)).toEqual([]);
});

async function restoresRun(): Promise<boolean> {
  return (await xen.node.processes()).some(({ command }) => / restore -p /.test(command));
}

it("a save goes on when the agent restarts, and the next one knows its end", async () => {
  await driver.start(guest(1_500), RUNNING, NEVER);
  const saving = driver.save(NAME, NEVER);
  saving.catch(() => {});
  await eventually(async () => (await flags()).includes(`${NAME} ${FLAGS.suspended}`));
  await nextAgent();
  expect(await driver.state(NAME)).toMatchObject({ status: "paused" });
  await eventually(async () => (await readdir(savedFolder())).join() === NAME);
  await eventually(
    async () => (await driver.start(guest(), RUNNING, NEVER).catch(({ message }) => /is saved/.test(message))) === true,
  );
  expect(await driver.restore(guest(), RUNNING, NEVER)).toMatchObject({ status: "running" });
});

it("a restore that an agent did not live to end is taken back, and can be repeated", async () => {
  await saved();
  fault("restore", { when: "after", hang: true });
  const abort = new AbortController();
  const restoring = driver.restore(guest(), RUNNING, abort.signal);
  restoring.catch(() => {});
  await eventually(async () => (await flags()).length > 0);
  expect(await flags()).toEqual([`${NAME} ${FLAGS.paused}`]);
  await driver.close();
  driver = xen.driver("xen-pvm");
  await driver.recover();
  expect(await flags()).toEqual([]);
  clearFault(xen.folder, "xl-restore");
  expect(await driver.restore(guest(), RUNNING, NEVER)).toMatchObject({ status: "running" });
  abort.abort();
  await expect(restoring).rejects.toThrow(/aborted/);
});

it("a guest that was not told to go on is, when the restore is repeated", async () => {
  await saved();
  fault("unpause", { answer: { exitCode: 1 } });
  await expect(driver.restore(guest(), RUNNING, NEVER)).rejects.toThrow(/let web1.example go on/);
  await nextAgent();
  expect(await readdir(savedFolder())).toEqual([]);
  expect(await driver.state(NAME)).toMatchObject({ status: "paused" });
  clearFault(xen.folder, "xl-unpause");
  expect(await driver.restore(guest(), RUNNING, NEVER)).toMatchObject({ status: "running" });
  await driver.stop(NAME, FORCED, NEVER);
  expect(await xen.leftovers()).toEqual([]);
});
