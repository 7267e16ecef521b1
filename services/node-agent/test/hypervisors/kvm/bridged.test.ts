/** Bridged NICs on a real bridge, which takes root. */
import { access, readFile, readlink, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { tapObstacle } from "../../../src/hypervisors/kvm/nic/tap.ts";
import { tapName } from "../../../src/hypervisors/kvm/nic/tap-name.ts";
import { bareGuest, eventually, makeTestNode, type TestNode } from "../node-fixture.ts";
import { NIC } from "./plan-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;

const bridge = `gntt${process.pid % 10_000_000}`;
const obstacle = (await tapObstacle()) ?? (await bridgeObstacle());
if (obstacle !== undefined) console.warn(`Not testing bridged NICs: ${obstacle}`);

async function ip(...args: readonly string[]): Promise<void> {
  const bare = await makeTestNode({});
  try {
    await bare.parts.runner.run({ argv: ["/sbin/ip", ...args], timeoutMs: 10_000 });
  } finally {
    await bare.remove();
  }
}

async function bridgeObstacle(): Promise<string | undefined> {
  return ip("link", "add", bridge, "mtu", "1400", "type", "bridge").then(
    () => undefined,
    (error: Error) => error.message,
  );
}

describe.skipIf(obstacle !== undefined)("a bridged NIC", () => {
  let node: TestNode;
  let driver: KvmHypervisor;
  const nics: GuestSpec["nics"] = [0, 1].map((index) => ({
    ...NIC,
    uuid: `${process.pid.toString(16).padStart(8, "0")}-000${index}-4000-8000-000000000000`,
    index,
    mac: `aa:00:00:00:00:0${index}`,
    link: bridge,
  }));
  const taps = nics.map(({ uuid }) => tapName(uuid));
  const guest: GuestSpec = { ...bareGuest("web1.example", "kvm", HYPERVISOR_DEFAULTS.kvm), nics };

  beforeAll(async () => {
    node = await makeTestNode({ kvmAcceleration: "off" });
    driver = new KvmHypervisor(node.parts);
    await driver.recover();
  });
  afterEach(() => driver.stop(guest.name, FORCED, NEVER));
  afterAll(async () => {
    await driver?.close();
    await node?.remove();
    await ip("link", "delete", bridge);
  });

  async function present(): Promise<readonly string[]> {
    const found = await Promise.all(
      taps.map((tap) =>
        access(`/sys/class/net/${tap}`).then(
          () => [tap],
          () => [],
        ),
      ),
    );
    return found.flat();
  }

  it("is a port of its bridge while the guest runs, and gone with it", async () => {
    await driver.validate(guest);
    await driver.start(guest, RUNNING, NEVER);
    for (const [index, tap] of taps.entries()) {
      const link = `/sys/class/net/${tap}`;
      expect(path.basename(await readlink(`${link}/master`))).toBe(bridge);
      expect(await readFile(`${link}/mtu`, "utf8")).toBe("1400\n");
      expect(await readFile(`${link}/address`, "utf8")).toBe(`fe:00:00:00:00:0${index}\n`);
      // Only a tap that qemu has opened has a carrier.
      expect(await readFile(`${link}/carrier`, "utf8")).toBe("1\n");
      const note = path.join(node.parts.stateDir, `kvm-hypervisor/nic/${guest.name}/${index}`);
      expect(await readFile(note, "utf8")).toBe(`${tap}\n`);
    }
    await driver.stop(guest.name, FORCED, NEVER);
    expect(await present()).toEqual([]);
  });

  it("comes back with a reboot", async () => {
    await driver.start(guest, RUNNING, NEVER);
    await driver.reboot(guest.name, FORCED, NEVER);
    expect(await present()).toEqual(taps);
  });

  it("is gone after a start that failed", async () => {
    const failing = { ...guest, hvparams: { ...guest.hvparams, kvm_extra: "-device no-such-device" } };
    await expect(driver.start(failing, RUNNING, NEVER)).rejects.toThrow(/no-such-device/);
    expect(await present()).toEqual([]);
  });

  it("is gone when qemu was killed", async () => {
    await driver.start(guest, RUNNING, NEVER);
    for (const { pid } of await node.processes()) process.kill(pid, "SIGKILL");
    await eventually(async () => (await driver.state(guest.name))?.status === "crashed");
    await eventually(async () => (await present()).length === 0);
  });

  it("is removed by a stop even when the guest's record is lost", async () => {
    await driver.start(guest, RUNNING, NEVER);
    await driver.close();
    await writeFile(path.join(node.parts.stateDir, `kvm-hypervisor/conf/${guest.name}.json`), "garbage");
    driver = new KvmHypervisor(node.parts);
    await driver.recover();
    await driver.stop(guest.name, FORCED, NEVER);
    expect(await present()).toEqual([]);
    expect(await node.processes()).toEqual([]);
  });

  it("replaces a tap that an agent left which was killed", async () => {
    await ip("tuntap", "add", "dev", String(taps[0]), "mode", "tap");
    await driver.start(guest, RUNNING, NEVER);
    expect(path.basename(await readlink(`/sys/class/net/${taps[0]}/master`))).toBe(bridge);
  });
});
