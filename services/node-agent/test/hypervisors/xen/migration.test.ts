/** Guests that move between two nodes with simulated Xens, over socat's real TLS with real certificates. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestSpec, MigrationProgress, MigrationTarget } from "@gannet/driver-contract";
import { MIGRATION_CHECKS, type MigrationNode, type MigrationSubject } from "@gannet/driver-contract/conformance";
import { endLeftoverCommands } from "@gannet/exec";
import { createCa, issueCertificate } from "@gannet/pki";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { setFault } from "../../../../../test/simulated-tools/faults.ts";
import { FLAGS, withXen } from "../../../../../test/simulated-tools/xen/state.ts";
import { XenHypervisor } from "../../../src/hypervisors/xen/xen-hypervisor.ts";
import { xenOptions } from "../../../src/hypervisors/xen/xen-options.ts";
import { eventually, uuidOf } from "../node-fixture.ts";
import { makeXenNode, type XenNode } from "./xen-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;
const LIVE = { live: true } as const;
const NAME = "web1.example";
const [SOURCE, TARGET, STRANGER] = ["node1.example", "node2.example", "node3.example"] as const;

interface Node {
  readonly name: string;
  readonly xen: XenNode;
  driver: XenHypervisor;
}

let pki: string;
let nodes: Node[];
let source: Node;
let target: Node;
let port: number;

beforeAll(async () => {
  pki = await mkdtemp(path.join(tmpdir(), "gannet-xen-pki-"));
  const ca = await createCa({ dir: path.join(pki, "ca") });
  for (const name of [SOURCE, TARGET, STRANGER])
    await issueCertificate({ ca, name, sans: ["127.0.0.1"], usage: "node", dir: path.join(pki, name) });
});
afterAll(() => rm(pki, { recursive: true }));

beforeEach(async () => {
  nodes = [];
  source = await makeNode(SOURCE);
  target = await makeNode(TARGET);
  port = await freePort();
});
afterEach(async () => {
  for (const { driver, xen } of nodes) {
    await driver.close();
    await xen.node.remove();
  }
});

async function makeNode(name: string): Promise<Node> {
  const xen = await makeXenNode({ nodeName: name, pkiDir: path.join(pki, name) });
  const driver = xen.driver("xen-pvm");
  await driver.recover();
  const node = { name, xen, driver };
  nodes.push(node);
  return node;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

interface GuestOptions {
  readonly name?: string;
  readonly roundMs?: number;
  readonly handoverMs?: number;
}

/** As one node sees it: the kernel stands elsewhere on each. */
function guest(node: Node, options: GuestOptions = {}): GuestSpec {
  const { name = NAME, roundMs = 10, handoverMs = 0 } = options;
  return node.xen.guest("xen-pvm", name, {
    migration_port: port,
    kernel_args: `simulated-round-ms=${roundMs} simulated-handover-ms=${handoverMs}`,
  });
}

async function accept(spec: GuestSpec, to: Node = target): Promise<MigrationTarget> {
  const info = await source.driver.migrationInfo(spec.name);
  const taken = await to.driver.acceptMigration({ ...spec, ...guest(to, spec) }, { info, address: "127.0.0.1" }, NEVER);
  return { address: "127.0.0.1", port: taken, nodeName: to.name };
}

async function send(spec: GuestSpec, to: MigrationTarget, signal = NEVER, from = source): Promise<MigrationProgress[]> {
  const told: MigrationProgress[] = [];
  for await (const each of from.driver.migrate(spec, to, LIVE, signal)) told.push(each);
  return told;
}

it("a guest moves, its time goes on, and the source keeps nothing", async () => {
  const spec = guest(source, { roundMs: 150 });
  await source.driver.start(spec, RUNNING, NEVER);
  await eventually(async () => ((await source.driver.state(NAME))?.uptimeSeconds ?? 0) > 1);
  const told = await send(spec, await accept(spec));
  expect(told.slice(0, -1).every(({ status }) => status === "active")).toBe(true);
  expect(told.length).toBeGreaterThan(1);
  const sent = 1024 * 4096;
  expect(told.at(-1)).toEqual({
    status: "completed",
    transferredBytes: sent,
    totalBytes: sent,
    downtimeMs: null,
    problem: "",
  });
  await source.driver.finishMigrationSource(NAME, true, NEVER);
  await target.driver.finishMigrationTarget(guest(target), true, NEVER);
  expect(await source.driver.state(NAME)).toBeUndefined();
  expect(await source.xen.leftovers()).toEqual([]);
  const state = await target.driver.state(NAME);
  expect(state).toMatchObject({ status: "running", uuid: spec.uuid });
  expect(state?.uptimeSeconds).toBeGreaterThan(1);
  expect(await target.driver.reboot(NAME, FORCED, NEVER)).toMatchObject({ status: "running" });
  await target.driver.finishMigrationTarget(guest(target), true, NEVER);
  await target.driver.stop(NAME, FORCED, NEVER);
  expect(await target.xen.leftovers()).toEqual([]);
});

it("nobody but the node that was named may send a guest, and only to the node that was named", async () => {
  const stranger = await makeNode(STRANGER);
  const spec = guest(source);
  await source.driver.start(spec, RUNNING, NEVER);
  await stranger.driver.start(guest(stranger), RUNNING, NEVER);
  const to = await accept(spec);
  expect((await send(guest(stranger), to, NEVER, stranger)).at(-1)).toMatchObject({ status: "failed" });
  expect(await withXen(target.xen.folder, ({ domains }) => domains)).toEqual([]);
  expect(await stranger.driver.state(NAME)).toMatchObject({ status: "running" });
  const again = await accept(spec);
  const wrong = await send(spec, { ...again, nodeName: STRANGER });
  expect(wrong.at(-1)).toMatchObject({ status: "failed", problem: expect.stringContaining("migrate") });
  expect(await withXen(target.xen.folder, ({ domains }) => domains)).toEqual([]);
  await source.driver.finishMigrationSource(NAME, false, NEVER);
  expect(await source.driver.state(NAME)).toMatchObject({ status: "running" });
});

it("one that is not live moves the guest in the same way: xl has no other", async () => {
  await source.driver.start(guest(source), RUNNING, NEVER);
  const to = await accept(guest(source));
  const told: MigrationProgress[] = [];
  for await (const each of source.driver.migrate(guest(source), to, { live: false }, NEVER)) told.push(each);
  expect(told.at(-1)).toMatchObject({ status: "completed" });
  await target.driver.finishMigrationTarget(guest(target), true, NEVER);
  await source.driver.finishMigrationSource(NAME, true, NEVER);
  expect(await target.driver.state(NAME)).toMatchObject({ status: "running" });
});

it("a migration that is cancelled leaves the guest where it was", async () => {
  const spec = guest(source, { roundMs: 2_000 });
  await source.driver.start(spec, RUNNING, NEVER);
  const to = await accept(spec);
  const abort = new AbortController();
  const sending = send(spec, to, abort.signal);
  await eventually(() => withXen(target.xen.folder, ({ domains }) => domains.length > 0));
  abort.abort();
  expect((await sending).at(-1)).toMatchObject({ status: "cancelled" });
  await target.driver.finishMigrationTarget(guest(target), false, NEVER);
  await source.driver.finishMigrationSource(NAME, false, NEVER);
  expect(await target.xen.leftovers()).toEqual([]);
  expect(await source.driver.list()).toMatchObject([{ name: NAME, status: "running" }]);
  expect(await source.driver.reboot(NAME, FORCED, NEVER)).toMatchObject({ status: "running" });
});

it("a target that gives up leaves the guest where it was", async () => {
  const spec = guest(source, { roundMs: 2_000 });
  await source.driver.start(spec, RUNNING, NEVER);
  const sending = send(spec, await accept(spec));
  await eventually(() => withXen(target.xen.folder, ({ domains }) => domains.length > 0));
  await target.driver.finishMigrationTarget(guest(target), false, NEVER);
  expect((await sending).at(-1)).toMatchObject({ status: "failed", problem: expect.stringMatching(/resuming at/) });
  expect(await target.xen.leftovers()).toEqual([]);
  expect(await source.driver.state(NAME)).toMatchObject({ status: "running" });
});

it("a guest that is said to have moved, but is still here, has not moved", async () => {
  const spec = guest(source);
  await source.driver.start(spec, RUNNING, NEVER);
  const to = await accept(spec);
  setFault(source.xen.folder, "xl-migrate", { answer: { exitCode: 0 } });
  expect((await send(spec, to)).at(-1)).toMatchObject({
    status: "failed",
    problem: expect.stringMatching(/still lists/),
  });
  await expect(target.driver.finishMigrationTarget(guest(target), true, AbortSignal.abort())).rejects.toThrow();
});

it("a guest whose sender died after the handover bears its name again", async () => {
  const spec = guest(source);
  await source.driver.start(spec, RUNNING, NEVER);
  await withXen(source.xen.folder, ({ domains }) => {
    for (const domain of domains) domain.name = `${NAME}--migratedaway`;
  });
  await source.driver.finishMigrationSource(NAME, false, NEVER);
  await source.driver.finishMigrationSource(NAME, false, NEVER);
  expect(await source.driver.state(NAME)).toMatchObject({ status: "running" });
});

describe("an agent that restarts in the middle of a migration", () => {
  /** As a killed one does: its driver tells nobody of the end, and the next begins with what commands are left. */
  async function restartAgent(node: Node): Promise<void> {
    await node.driver.close();
    await endLeftoverCommands(node.xen.commandRecords, node.xen.node.parts.logger);
    node.driver = node.xen.driver("xen-pvm");
    await node.driver.recover();
  }

  const flagsOn = (node: Node) =>
    withXen(node.xen.folder, ({ domains }) => domains.map(({ name, flags }) => `${name} ${flags}`));

  const idsOn = (node: Node) => withXen(node.xen.folder, ({ domains }) => domains.map(({ id }) => id));

  /** Until something of it has come to the target. */
  async function sendSome(options: GuestOptions): Promise<MigrationTarget> {
    const spec = guest(source, options);
    await source.driver.start(spec, RUNNING, NEVER);
    const to = await accept(spec);
    const sending = source.driver.migrate(spec, to, LIVE, NEVER)[Symbol.asyncIterator]();
    expect((await sending.next()).value).toMatchObject({ status: "active" });
    await eventually(async () => (await flagsOn(target)).length > 0);
    return to;
  }

  /** As the master settles what broke off: the target first. */
  async function settle(): Promise<"completed" | "reverted"> {
    const succeeded = await target.driver.finishMigrationTarget(guest(target), false, NEVER).then(
      () => false,
      () => true,
    );
    if (succeeded) await target.driver.finishMigrationTarget(guest(target), true, NEVER);
    await source.driver.finishMigrationSource(NAME, succeeded, NEVER);
    return succeeded ? "completed" : "reverted";
  }

  it.each(["source", "target"] as const)("breaks nothing off at the %s, and the end is told", async (where) => {
    const to = await sendSome({ roundMs: 300 });
    const coming = await idsOn(target);
    await restartAgent(where === "source" ? source : target);
    expect(await source.driver.state(NAME)).toMatchObject({ status: "running" });
    const told = await send(guest(source), to);
    expect(told.length).toBeGreaterThan(1);
    expect(told.at(-1)).toMatchObject({ status: "completed", problem: "" });
    expect(await settle()).toBe("completed");
    expect(await idsOn(target)).toEqual(coming);
    expect(await target.driver.state(NAME)).toMatchObject({ status: "running" });
    expect(await source.xen.leftovers()).toEqual([]);
    await target.driver.stop(NAME, FORCED, NEVER);
    expect(await target.xen.leftovers()).toEqual([]);
  });

  it.each(["source", "target"] as const)("at the %s: a master that gives it up has the guest back", async (where) => {
    await sendSome({ roundMs: 500 });
    await restartAgent(where === "source" ? source : target);
    expect(await settle()).toBe("reverted");
    expect(await flagsOn(source)).toEqual([`${NAME} ${FLAGS.running}`]);
    expect(await target.xen.leftovers()).toEqual([]);
    expect(await source.driver.state(NAME)).toMatchObject({ status: "running" });
    expect((await send(guest(source), await accept(guest(source)))).at(-1)?.status).toMatch(/completed/);
  });

  it("while the guest is on neither node it stands still, is started nowhere, and arrives", async () => {
    await sendSome({ handoverMs: 3_000 });
    await eventually(async () => (await flagsOn(source)).includes(`${NAME}--migratedaway ${FLAGS.suspended}`));
    await restartAgent(source);
    expect(await source.driver.state(NAME)).toMatchObject({ status: "paused" });
    await expect(source.driver.start(guest(source), RUNNING, NEVER)).rejects.toThrow(/is being sent to another node/);
    await eventually(async () => (await flagsOn(source)).length === 0);
    await eventually(() =>
      source.driver.start(guest(source), RUNNING, NEVER).catch(({ message }) => /has been sent/.test(message)),
    );
    expect(await flagsOn(source)).toEqual([]);
    expect(await settle()).toBe("completed");
    expect(await flagsOn(target)).toEqual([`${NAME} ${FLAGS.running}`]);
    expect(await source.xen.leftovers()).toEqual([]);
  });

  it("finds what ended while there was none", async () => {
    await sendSome({ roundMs: 100 });
    await source.driver.close();
    await eventually(async () => (await flagsOn(source)).length === 0);
    await eventually(async () => (await flagsOn(target)).includes(`${NAME} ${FLAGS.running}`));
    await restartAgent(source);
    expect(await source.driver.list()).toMatchObject([{ status: "paused" }]);
    await expect(source.driver.start(guest(source), RUNNING, NEVER)).rejects.toThrow(/sent to another node/);
    expect(await settle()).toBe("completed");
    expect(await source.driver.list()).toEqual([]);
  });

  async function killSender(): Promise<void> {
    const senders = async () => (await source.xen.node.processes()).filter(({ command }) => / migrate /.test(command));
    for (const { pid } of await senders()) process.kill(pid, "SIGKILL");
    // While the kernel is still ending it, it is taken for one that sends.
    await eventually(async () => (await senders()).length === 0);
  }

  it("lets a guest go on that a killed command left standing still", async () => {
    const to = await sendSome({ handoverMs: 60_000 });
    await eventually(async () => (await flagsOn(source)).includes(`${NAME}--migratedaway ${FLAGS.suspended}`));
    await killSender();
    await restartAgent(source);
    // The target may have it: it goes on only when the target was asked.
    const [away] = await send(guest(source), { ...to, port: 1 }).catch((error: Error) => [error.message]);
    expect(away).toMatch(/does not run/);
    expect(await flagsOn(source)).toEqual([`${NAME}--migratedaway ${FLAGS.suspended}`]);
    await expect(source.driver.start(guest(source), RUNNING, NEVER)).rejects.toThrow(/migration is to be finished/);
    expect(await settle()).toBe("reverted");
    expect(await flagsOn(source)).toEqual([`${NAME} ${FLAGS.running}`]);
    expect(await source.driver.state(NAME)).toMatchObject({ status: "running" });
    expect(await target.xen.leftovers()).toEqual([]);
  });

  it("tells of one that this Xen cannot let go on, and which can be started anew", async () => {
    setFault(source.xen.folder, "xl-resume", { answer: { exitCode: 2, stderr: "command not implemented\n" } });
    await sendSome({ handoverMs: 60_000 });
    await eventually(async () => (await flagsOn(source)).includes(`${NAME}--migratedaway ${FLAGS.suspended}`));
    await killSender();
    await restartAgent(source);
    expect(await settle()).toBe("reverted");
    expect(await source.driver.state(NAME)).toMatchObject({ status: "paused" });
    await source.driver.stop(NAME, FORCED, NEVER);
    expect(await source.driver.start(guest(source), RUNNING, NEVER)).toMatchObject({ status: "running" });
  });
});

it("several guests come at once, each at its own port, and a repeated preparation takes the first's place", async () => {
  const [first, second] = [guest(source), guest(source, { name: "web2.example" })];
  for (const each of [first, second]) await source.driver.start(each, RUNNING, NEVER);
  const places = [await accept(first), await accept(second), await accept(first)];
  expect(places.map((place) => place.port)).toEqual([port, port + 1, port]);
  const told = await Promise.all([
    send(first, places[2] as MigrationTarget),
    send(second, places[1] as MigrationTarget),
  ]);
  expect(told.map((each) => each.at(-1)?.status)).toEqual(["completed", "completed"]);
});

describe("what every driver that migrates must do, with a simulated xl", () => {
  /** `xl` can do neither: a paused guest takes no part in its own migration, and one that has come is the only one. */
  const BEYOND_XL = [
    "a paused guest is paused at the target",
    "one that has been sent can be given up, too, the target first",
  ];
  const subject = (): MigrationSubject => ({
    source: side(source),
    target: side(target),
    guest: (name) => ({ ...guest(source, { name }), uuid: uuidOf(name) }),
  });
  const side = ({ name, xen, driver }: Node): MigrationNode => ({
    nodeName: name,
    address: "127.0.0.1",
    open: async () => {
      await driver.close();
      return xen.driver("xen-pvm");
    },
    leftovers: () => xen.leftovers(),
  });

  for (const check of MIGRATION_CHECKS.filter(({ name }) => !BEYOND_XL.includes(name)))
    it(check.name, () => check.run(subject()));

  it("a paused guest is refused, and a guest that has come is not ended", async () => {
    await source.driver.start(guest(source), { paused: true }, NEVER);
    const nowhere = { address: "127.0.0.1", port, nodeName: TARGET };
    await expect(send(guest(source), nowhere)).rejects.toThrow(/is paused: Xen moves guests that run/);
    await source.driver.stop(NAME, FORCED, NEVER);
    await source.driver.start(guest(source), RUNNING, NEVER);
    await send(guest(source), await accept(guest(source)));
    await expect(target.driver.finishMigrationTarget(guest(target), false, NEVER)).rejects.toThrow(/has come and runs/);
    await expect(source.driver.start(guest(source), RUNNING, NEVER)).rejects.toThrow(/has been sent to another node/);
    await target.driver.finishMigrationTarget(guest(target), true, NEVER);
    expect(await target.driver.state(NAME)).toMatchObject({ status: "running" });
  });
});

it("what the source tells is checked, and a guest that runs here is not taken in", async () => {
  const options = (info: string) => ({ info, address: "127.0.0.1" });
  const told = (changes: object) =>
    JSON.stringify({ version: 1, uuid: guest(target).uuid, sourceNode: SOURCE, startedAtMs: 0, ...changes });
  const prepare = (info: string) => target.driver.acceptMigration(guest(target), options(info), NEVER);
  for (const info of ["", "{}", told({ sourceNode: "a,verify=0" }), told({ uuid: "another" })])
    await expect(prepare(info)).rejects.toThrow(/cannot be understood/);
  expect(await target.xen.leftovers()).toEqual([]);
  await target.driver.start(guest(target), RUNNING, NEVER);
  await expect(prepare(told({}))).rejects.toThrow(/runs on this/);
  expect(await target.driver.state(NAME)).toMatchObject({ status: "running" });
});

it("without a certificate, or with Xen's older command, guests do not move", async () => {
  const bare = await makeXenNode();
  const driver = bare.driver("xen-pvm");
  await driver.recover();
  await driver.start(bare.guest("xen-pvm", NAME), RUNNING, NEVER);
  await expect(driver.migrationInfo(NAME)).rejects.toThrow(/no certificate/);
  await driver.close();
  const { options } = bare.node.parts;
  const older = new XenHypervisor("xen-pvm", {
    ...bare.node.parts,
    options: { ...options, xen: { ...xenOptions({}), ...options.xen, toolstack: "xm" } },
  });
  await older.recover();
  expect(await older.list()).toMatchObject([{ name: NAME, status: "running" }]);
  await expect(older.migrationInfo(NAME)).rejects.toThrow(/xl command only/);
  await older.stop(NAME, { force: false, timeoutMs: 10_000 }, NEVER);
  expect(await bare.leftovers()).toEqual([]);
  await older.close();
  await bare.node.remove();
});
