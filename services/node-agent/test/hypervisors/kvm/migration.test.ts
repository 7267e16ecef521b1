/** Live migration between two drivers, each with a real qemu. */
import { X509Certificate } from "node:crypto";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec, MigrationProgress } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { type CertificateAuthority, revocationList } from "@gannet/pki";
import { findStockKernel } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bareGuest, eventually } from "../node-fixture.ts";
import {
  ADDRESS,
  COUNT,
  certificateCopies,
  countingGuest,
  finish,
  GREETING,
  type MigrationNode,
  makeCluster,
  makeFolder,
  makeMigrationNode,
  move,
  NEVER,
  openConsole,
  openSerial,
  send,
} from "./migration-fixture.ts";

const FORCED = { force: true, timeoutMs: 10_000 } as const;
const RUNNING = { paused: false } as const;
/** Half a minute on an idle machine, under TCG. */
const BOOT_MS = 180_000;
const kernel = await findStockKernel();
if ("missing" in kernel) console.warn(`Not migrating a real kernel: ${kernel.missing}`);

let folder: string;
let ca: CertificateAuthority;
let one: MigrationNode;
let two: MigrationNode;

beforeAll(async () => {
  folder = await makeFolder();
  ca = await makeCluster(folder);
  one = await makeMigrationNode(ca, "node1.gannet.test");
  two = await makeMigrationNode(ca, "node2.gannet.test");
});
afterAll(async () => {
  for (const each of [one, two]) {
    await each?.driver.close();
    await each?.node.remove();
  }
  await rm(folder, { recursive: true, force: true });
});

describe.skipIf("missing" in kernel)("a guest that counts", { timeout: BOOT_MS }, () => {
  let guest: GuestSpec;
  /** So that something can happen meanwhile; the whole guest takes some seconds. */
  const slowly = (mibPerSecond = 16): GuestSpec => ({
    ...guest,
    hvparams: { ...guest.hvparams, migration_bandwidth: mibPerSecond },
  });

  beforeAll(async () => {
    if ("missing" in kernel) return;
    guest = await countingGuest(kernel, folder);
    await one.driver.start(guest, RUNNING, NEVER);
    await using serial = await openConsole(one.driver, guest.name);
    await serial.saw(GREETING);
    serial.say("");
    await serial.saw("you said:");
    serial.say(COUNT);
    await serial.nextCount();
  }, BOOT_MS);
  afterAll(async () => {
    for (const each of [one, two]) await each.driver.stop("moving.example", FORCED, NEVER);
  });

  /** It counts on from there, on this node. */
  async function countsOn(at: MigrationNode, from: number): Promise<number> {
    await using serial = await openConsole(at.driver, guest.name);
    const next = await serial.nextCount();
    expect(next).toBeGreaterThan(from);
    return next;
  }

  it("counts on at the target, and after its way back at the source", async () => {
    let last = await countsOn(one, 0);
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      const before = await from.driver.state(guest.name);
      await using serial = await openConsole(from.driver, guest.name);
      const { progress } = await send(guest, from, to);
      // Before it has come, the target does not show it, and the source has it still.
      expect(await to.driver.list()).toEqual([]);
      expect(await from.driver.state(guest.name)).toMatchObject({ status: "paused" });
      const arriving = performance.now();
      await finish(guest, from, to, true);
      expect(performance.now() - arriving).toBeLessThan(10_000);
      const end = progress.at(-1);
      expect(end).toMatchObject({ status: "completed", problem: "" });
      expect(end?.downtimeMs).toBeGreaterThanOrEqual(0);
      expect(end?.transferredBytes).toBeGreaterThan(1024 * 1024);
      expect(end?.totalBytes).toBeGreaterThanOrEqual(guest.maxMemoryMib * 1024 * 1024);
      expect(progress.slice(0, -1).every(({ status }) => status === "active")).toBe(true);

      const counted = serial.counts();
      const next = await countsOn(to, last);
      // It has not begun anew, and has not counted anything twice: the source had not gone further.
      expect(counted).toEqual(counted.map((_, index) => (counted[0] ?? 0) + index));
      expect(next).toBeGreaterThan(counted.at(-1) ?? 0);
      last = next;
      const after = await to.driver.state(guest.name);
      expect(after).toMatchObject({ status: "running", memoryMib: 192, vcpus: 1 });
      expect(after?.uptimeSeconds).toBeGreaterThan(before?.uptimeSeconds ?? Number.POSITIVE_INFINITY);
      expect(await from.driver.state(guest.name)).toBeUndefined();
      expect(await from.leftovers()).toEqual([]);
      expect([...(await certificateCopies(one)), ...(await certificateCopies(two))]).toEqual([]);
    }
  });

  it("goes on where it is when the migration is cancelled half-way", async () => {
    const last = await countsOn(one, 0);
    const abort = new AbortController();
    const { progress } = await send(slowly(), one, two, {
      signal: abort.signal,
      onProgress: ({ transferredBytes }) => {
        if (transferredBytes > 1024 * 1024) abort.abort();
      },
    });
    expect(progress.at(-1)).toMatchObject({ status: "cancelled" });
    await countsOn(one, last);
    await finish(guest, one, two, false);
    expect(await two.leftovers()).toEqual([]);
    expect(await one.driver.state(guest.name)).toMatchObject({ status: "running" });
  });

  it("goes on where it is when the target's qemu is killed", async () => {
    const last = await countsOn(one, 0);
    const { progress } = await send(slowly(), one, two, {
      onProgress: async ({ transferredBytes }) => {
        if (transferredBytes > 1024 * 1024) {
          for (const { pid } of await two.node.processes()) process.kill(pid, "SIGKILL");
        }
      },
    });
    expect(progress.at(-1)).toMatchObject({ status: "failed", problem: expect.stringMatching(/./) });
    await countsOn(one, last);
    await finish(guest, one, two, false);
    expect(await two.leftovers()).toEqual([]);
  });

  it("goes on where it is when the source's agent ended meanwhile and the master gives up", async () => {
    const last = await countsOn(one, 0);
    const sending = send(slowly(), one, two, {
      onProgress: ({ transferredBytes }) => (transferredBytes > 1024 * 1024 ? one.driver.close() : undefined),
    });
    await expect(sending).rejects.toMatchObject({ name: "HypervisorError" });
    await one.restart();
    await finish(guest, one, two, false);
    await finish(guest, one, two, false);
    await countsOn(one, last);
    expect(await two.leftovers()).toEqual([]);
    // Nothing of the attempt hinders the next.
    await move(guest, one, two);
    await move(guest, two, one);
  });

  it("arrives when both agents ended meanwhile and the master goes on", async () => {
    const last = await countsOn(one, 0);
    const info = await one.driver.migrationInfo(guest.name);
    const port = await two.driver.acceptMigration(guest, { info, address: ADDRESS }, NEVER);
    expect(await two.driver.acceptMigration(guest, { info, address: ADDRESS }, NEVER)).toBe(port);
    const target = { address: ADDRESS, port, nodeName: two.name };
    const sending = async (spec: GuestSpec, seen: (progress: MigrationProgress) => unknown) => {
      for await (const each of one.driver.migrate(spec, target, { live: true }, NEVER)) await seen(each);
    };
    const interrupted = sending(slowly(), ({ transferredBytes }) => transferredBytes > 0 && one.driver.close());
    await expect(interrupted).rejects.toMatchObject({ name: "HypervisorError" });
    await one.restart();
    await two.restart();
    expect(await two.driver.list()).toEqual([]);
    await expect(one.driver.reboot(guest.name, FORCED, NEVER)).rejects.toThrow(/being migrated/);
    await expect(two.driver.start(guest, RUNNING, NEVER)).rejects.toThrow(/being migrated to this node/);
    const progress: MigrationProgress[] = [];
    await sending(guest, (each) => progress.push(each));
    expect(progress.at(-1)).toMatchObject({ status: "completed" });
    await finish(guest, one, two, true);
    await finish(guest, one, two, true);
    await countsOn(two, last);
    await move(guest, two, one);
  });

  it("is sent no faster than it may be", async () => {
    const seen: { readonly atMs: number; readonly bytes: number }[] = [];
    const { progress } = await send(slowly(), one, two, {
      onProgress: ({ status, transferredBytes }) => {
        if (status === "active") seen.push({ atMs: performance.now(), bytes: transferredBytes });
      },
    });
    await finish(guest, one, two, progress.at(-1)?.status === "completed");
    expect(progress.at(-1)?.status).toBe("completed");
    const [first, last] = [seen.at(1), seen.at(-1)];
    if (first === undefined || last === undefined) throw new Error("it was too fast to see");
    const mibPerSecond = (last.bytes - first.bytes) / 1024 / 1024 / ((last.atMs - first.atMs) / 1000);
    expect(mibPerSecond).toBeLessThan(16 * 1.25);
    const gaps = seen.slice(1).map(({ atMs }, index) => atMs - (seen[index]?.atMs ?? 0));
    expect(Math.max(...gaps)).toBeLessThan(10_000);
    await move(guest, two, one);
  });

  it("is paused first when it is not migrated live", async () => {
    const states: (string | undefined)[] = [];
    const last = await countsOn(one, 0);
    await move(slowly(), one, two, {
      live: false,
      onProgress: async ({ status }: MigrationProgress) => {
        if (status === "active") states.push((await one.driver.state(guest.name))?.status);
      },
    });
    expect(states.slice(1, -1)).toContain("paused");
    expect(states.slice(1)).not.toContain("running");
    await countsOn(two, last);
    await move(guest, two, one);
  });

  it("is fetched by the target when its memory changes faster than it can be sent, if postcopy is switched on", async () => {
    const last = await countsOn(one, 0);
    const postcopy = { migration_caps: "postcopy-ram", migration_downtime: 0, migration_bandwidth: 32 };
    const eager = { ...guest, hvparams: { ...guest.hvparams, ...postcopy } };
    const { progress } = await send(eager, one, two);
    expect(progress.at(-1)).toMatchObject({ status: "completed" });
    // In any other migration it does not run before it is told to.
    await using early = openSerial(path.join(two.node.parts.stateDir, `kvm-hypervisor/ctrl/${guest.name}.serial`));
    expect(await early.nextCount()).toBeGreaterThan(last);
    early.close();
    await finish(eager, one, two, true);
    await countsOn(two, last);
    await move(guest, two, one);
  });

  it("can be restarted, rebooted and stopped where it has come to, its disk the same", async () => {
    await move(guest, one, two);
    await two.restart();
    await countsOn(two, 1);
    expect(await two.driver.state(guest.name)).toMatchObject({ status: "running" });
    expect(await two.driver.reboot(guest.name, FORCED, NEVER)).toMatchObject({ status: "running" });
    await two.driver.stop(guest.name, FORCED, NEVER);
    expect(await two.leftovers()).toEqual([]);
  });
});

describe("a guest whose migration", () => {
  const guest = bareGuest("still.example", "kvm", HYPERVISOR_DEFAULTS.kvm);

  afterEach(async () => {
    for (const each of [one, two]) await each.driver.stop(guest.name, FORCED, NEVER);
    expect([...(await one.leftovers()), ...(await two.leftovers())]).toEqual([]);
  });

  it("finds it paused is paused at the target", async () => {
    await one.driver.start(guest, { paused: true }, NEVER);
    await move(guest, one, two);
    expect(await two.driver.state(guest.name)).toMatchObject({ status: "paused" });
    await two.restart();
    expect(await two.driver.state(guest.name)).toMatchObject({ status: "paused" });
  });

  it("needs a disk that the target has not is refused there, and nothing is left", async () => {
    const disk = {
      uuid: "d15c0000-0000-4000-8000-000000000000",
      index: 0,
      name: null,
      path: path.join(folder, "no-such-disk"),
      kind: "file",
      format: "raw",
      access: "rw",
      sizeMib: 1,
    } as const;
    await one.driver.start(guest, RUNNING, NEVER);
    const info = await one.driver.migrationInfo(guest.name);
    const withDisk = JSON.stringify({
      ...JSON.parse(info),
      guest: { ...guest, disks: [disk] },
      places: { ...JSON.parse(info).places, "disk-d15c0000-0000-4000": { bus: "pci.0", addr: "0xd" } },
    });
    const refusal = two.driver.acceptMigration(
      { ...guest, disks: [disk] },
      { info: withDisk, address: ADDRESS },
      NEVER,
    );
    await expect(refusal).rejects.toThrow(/no-such-disk/);
    expect(await two.leftovers()).toEqual([]);
    await expect(two.driver.acceptMigration(guest, { info: withDisk, address: ADDRESS }, NEVER)).rejects.toThrow(
      /its disk 0 .* is not there on the target node/,
    );
    await expect(two.driver.acceptMigration(guest, { info, address: "192.0.2.1" }, NEVER)).rejects.toMatchObject({
      name: "HypervisorError",
    });
    expect(await two.leftovers()).toEqual([]);
  });

  it("is wanted by a node with another cluster's certificate is refused by both", async () => {
    const stranger = await makeMigrationNode(await makeCluster(path.join(folder, "stranger")), two.name);
    try {
      await one.driver.start(guest, RUNNING, NEVER);
      const there = await send(guest, one, stranger);
      expect(there.progress.at(-1)).toMatchObject({ status: "failed", problem: expect.stringMatching(/certificate/i) });
      await finish(guest, one, stranger, false);
      expect(await one.driver.state(guest.name)).toMatchObject({ status: "running" });
      expect(await stranger.leftovers()).toEqual([]);
    } finally {
      await stranger.driver.close();
      await stranger.node.remove();
    }
  });

  it("comes from a node whose certificate is revoked is refused by the target", async () => {
    const listFile = path.join(two.pkiDir, "crl.pem");
    const { serialNumber } = new X509Certificate(await readFile(path.join(one.pkiDir, "cert.pem")));
    await writeFile(listFile, await revocationList(ca, ["0A1B", serialNumber]));
    try {
      await one.driver.start(guest, RUNNING, NEVER);
      const there = await send(guest, one, two);
      expect(there.progress.at(-1)).toMatchObject({ status: "failed" });
      await finish(guest, one, two, false);
      expect(await one.driver.state(guest.name)).toMatchObject({ status: "running" });
      // Others of the same list go on.
      await writeFile(listFile, await revocationList(ca, ["0A1B"]));
      await move(guest, one, two);
    } finally {
      await rm(listFile);
    }
  });

  it("leads to another node than was meant is refused by its name", async () => {
    await one.driver.start(guest, RUNNING, NEVER);
    const info = await one.driver.migrationInfo(guest.name);
    const port = await two.driver.acceptMigration(guest, { info, address: ADDRESS }, NEVER);
    const target = { address: ADDRESS, port, nodeName: "node3.gannet.test" };
    const progress: MigrationProgress[] = [];
    for await (const each of one.driver.migrate(guest, target, { live: true }, NEVER)) progress.push(each);
    expect(progress.at(-1)).toMatchObject({ status: "failed", problem: expect.stringMatching(/hostname node3/) });
    await finish(guest, one, two, false);
    expect(await one.driver.state(guest.name)).toMatchObject({ status: "running" });
  });

  it("is accepted for another sender is refused by the target", async () => {
    await one.driver.start(guest, RUNNING, NEVER);
    const info = await one.driver.migrationInfo(guest.name);
    const other = JSON.stringify({ ...JSON.parse(info), sender: ["OU=node", "CN=node3.gannet.test"] });
    const port = await two.driver.acceptMigration(guest, { info: other, address: ADDRESS }, NEVER);
    const progress: MigrationProgress[] = [];
    const target = { address: ADDRESS, port, nodeName: two.name };
    for await (const each of one.driver.migrate(guest, target, { live: true }, NEVER)) progress.push(each);
    expect(progress.at(-1)).toMatchObject({ status: "failed" });
    await expect(two.driver.finishMigrationTarget(guest, true, NEVER)).rejects.toThrow(/has not come/);
    await expect(one.driver.finishMigrationSource(guest.name, true)).rejects.toThrow(/has not gone/);
    await finish(guest, one, two, false);
    expect(await one.driver.state(guest.name)).toMatchObject({ status: "running" });
  });

  it.skipIf(process.geteuid?.() !== 0).each([
    ["as another user", { security_model: "user", security_domain: "nobody" }],
    ["in a root folder of its own", { use_chroot: true }],
    [
      "as another user in a root folder of its own",
      { security_model: "user", security_domain: "nobody", use_chroot: true },
    ],
  ])("is that of a qemu running %s can read its certificate, and nobody can afterwards", async (_, params) => {
    const confined = { ...guest, hvparams: { ...guest.hvparams, ...params } };
    await one.driver.start(confined, RUNNING, NEVER);
    await move(confined, one, two);
    await move(confined, two, one);
    expect(await one.driver.state(guest.name)).toMatchObject({ status: "running" });
    const copies = (await readdir("/run")).filter((entry) => entry.startsWith("gannet-migration-"));
    expect([...copies, ...(await certificateCopies(one)), ...(await certificateCopies(two))]).toEqual([]);
    expect((await one.leftovers()).filter((file) => file.endsWith(".pem"))).toEqual([]);
  });

  it("is to have capabilities that are always on, or that no migration uses, goes without these", async () => {
    const params = { ...guest.hvparams, migration_caps: "events:return-path:xbzrle:multifd:compress:rdma-pin-all" };
    const asking = { ...guest, hvparams: params };
    await one.driver.start(asking, RUNNING, NEVER);
    await move(asking, one, two);
    expect(await two.driver.state(guest.name)).toMatchObject({ status: "running" });
  });

  it("has succeeded is not undone by a late word that it failed", async () => {
    await one.driver.start(guest, RUNNING, NEVER);
    await move(guest, one, two);
    await expect(two.driver.finishMigrationTarget(guest, false, NEVER)).rejects.toThrow(/runs on this node/);
    await one.driver.finishMigrationSource(guest.name, false);
    expect(await two.driver.state(guest.name)).toMatchObject({ status: "running" });
    expect(await one.driver.state(guest.name)).toBeUndefined();
  });

  it("was accepted but never begun leaves nothing, whether it is told or its qemu ends", async () => {
    await one.driver.start(guest, RUNNING, NEVER);
    const info = await one.driver.migrationInfo(guest.name);
    await two.driver.acceptMigration(guest, { info, address: ADDRESS }, NEVER);
    await two.driver.finishMigrationTarget({ ...guest, disks: [] }, false, NEVER);
    expect(await two.leftovers()).toEqual([]);
    await two.driver.acceptMigration(guest, { info, address: ADDRESS }, NEVER);
    for (const { pid } of await two.node.processes()) process.kill(pid, "SIGKILL");
    await eventually(async () => (await two.leftovers()).length === 0);
    await two.driver.finishMigrationTarget(guest, false, NEVER);
  });

  it("would send it onto itself is refused", async () => {
    await one.driver.start(guest, RUNNING, NEVER);
    const info = await one.driver.migrationInfo(guest.name);
    await expect(one.driver.acceptMigration(guest, { info, address: ADDRESS }, NEVER)).rejects.toThrow(
      /runs on this node already/,
    );
    expect(await one.driver.state(guest.name)).toMatchObject({ status: "running" });
  });
});
