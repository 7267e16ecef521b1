import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import {
  BALLOONING_CHECKS,
  type BallooningConformanceDriver,
  type ChangingSubject,
  HOTPLUG_CHECKS,
  type HotplugSubject,
  MIGRATION_CHECKS,
  type MigrationSubject,
} from "@gannet/driver-contract/conformance";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { findStockKernel } from "@gannet/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { bareGuest, makeTestNode, type TestNode, uuidOf } from "../node-fixture.ts";
import { type LocalHypervisor, testConformance } from "../served-hypervisor.ts";
import {
  ADDRESS,
  countingGuest,
  GREETING,
  type MigrationNode,
  makeCluster,
  makeFolder,
  makeMigrationNode,
  openConsole,
} from "./migration-fixture.ts";
import { DISK, NIC } from "./plan-fixture.ts";

describe("the kvm hypervisor, with real qemu under TCG", () => {
  let node: TestNode;
  let subject: LocalHypervisor;

  beforeAll(async () => {
    node = await makeTestNode({ kvmAcceleration: "off" });
    subject = {
      open: async () => new KvmHypervisor(node.parts),
      guest: (name) => bareGuest(name, "kvm", HYPERVISOR_DEFAULTS.kvm),
      failingGuest: (name) =>
        bareGuest(name, "kvm", { ...HYPERVISOR_DEFAULTS.kvm, kvm_extra: "-device no-such-device" }),
      crash: async (name) => {
        const pidFile = path.join(node.parts.stateDir, "kvm-hypervisor/pid", name);
        process.kill(Number(await readFile(pidFile, "utf8")), "SIGKILL");
      },
      leftovers: async () => [...(await node.files()), ...(await node.processes()).map(({ command }) => command)],
    };
  });
  afterAll(() => node.remove());

  testConformance(() => subject);
});

describe("migration by real qemu under TCG, over TLS", () => {
  let folder: string;
  let nodes: readonly [MigrationNode, MigrationNode];
  let subject: MigrationSubject;

  beforeAll(async () => {
    folder = await makeFolder();
    const ca = await makeCluster(folder);
    nodes = [await makeMigrationNode(ca, "node1.gannet.test"), await makeMigrationNode(ca, "node2.gannet.test")];
    const checked = (made: MigrationNode): MigrationSubject["source"] => ({
      open: async () => new KvmHypervisor(made.node.parts),
      leftovers: () => made.leftovers(),
      nodeName: made.name,
      address: ADDRESS,
    });
    const [source, target] = [checked(nodes[0]), checked(nodes[1])];
    subject = { source, target, guest: (name) => bareGuest(name, "kvm", HYPERVISOR_DEFAULTS.kvm) };
  });
  afterAll(async () => {
    for (const { node } of nodes) await node.remove();
    await rm(folder, { recursive: true, force: true });
  });

  for (const check of MIGRATION_CHECKS) it(check.name, () => check.run(subject));
});

const kernel = await findStockKernel();

describe.skipIf("missing" in kernel)("memory and devices of a guest with a stock kernel", { timeout: 180_000 }, () => {
  let node: TestNode;
  let folder: string;
  let booting: GuestSpec;
  let subject: HotplugSubject & ChangingSubject<BallooningConformanceDriver>;

  beforeAll(async () => {
    if ("missing" in kernel) return;
    folder = await makeFolder();
    node = await makeTestNode({ kvmAcceleration: "off" });
    booting = { ...(await countingGuest(kernel, folder)), disks: [] };
    const image = path.join(folder, "plugged");
    await writeFile(image, Buffer.alloc(1024 * 1024));
    subject = {
      open: async () => new KvmHypervisor(node.parts),
      guest: (name) => ({ ...booting, name, uuid: uuidOf(name) }),
      ready: async (driver, name) => {
        await using serial = await openConsole(driver, name);
        await serial.saw(GREETING);
      },
      device: async (kind) =>
        kind === "disk" ? { kind, disk: { ...DISK, path: image } } : { kind, nic: { ...NIC, mode: "user" } },
      leftovers: async () => [...(await node.files()), ...(await node.processes()).map(({ command }) => command)],
    };
  });
  afterAll(async () => {
    await node?.remove();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  for (const check of BALLOONING_CHECKS) it(check.name, () => check.run(subject));
  for (const check of HOTPLUG_CHECKS) it(check.name, () => check.run(subject));
});
