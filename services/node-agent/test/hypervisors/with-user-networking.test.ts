import { canHypervisor, type GuestNic, type HypervisorAbilities, type HypervisorDriver } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { describe, expect, it, vi } from "vitest";
import { withUserNetworking } from "../../src/hypervisors/with-user-networking.ts";
import { bareGuest } from "./node-fixture.ts";

const SIGNAL = new AbortController().signal;
const NIC: GuestNic = {
  uuid: "a1c00000-1111-2222-3333-444444444444",
  index: 0,
  name: null,
  mac: "aa:00:00:12:34:56",
  ip: "192.0.2.7",
  mode: "bridged",
  link: "br0",
  vlan: "",
};
const USER_NIC = { ...NIC, mode: "user" };
const ROUTED_NIC: GuestNic = { ...NIC, mode: "routed" };
const GUEST = { ...bareGuest("web1.example", "kvm", HYPERVISOR_DEFAULTS.kvm), nics: [NIC, ROUTED_NIC] };

describe("user networking", () => {
  it("is what bridged NICs get, wherever the driver is given them", async () => {
    const start = vi.fn(async () => {});
    const acceptMigration = vi.fn(async () => 7);
    const plug = vi.fn(async () => {});
    const driver = withUserNetworking({ name: "kvm", start, acceptMigration, plug } as unknown as HypervisorDriver &
      HypervisorAbilities["migrate"] &
      HypervisorAbilities["plug"]);
    const adapted = { ...GUEST, nics: [USER_NIC, ROUTED_NIC] };
    await driver.start(GUEST, { paused: false }, SIGNAL);
    expect(start).toHaveBeenCalledWith(adapted, { paused: false }, SIGNAL);
    const options = { info: "", address: "127.0.0.1" };
    expect(await driver.acceptMigration(GUEST, options, SIGNAL)).toBe(7);
    expect(acceptMigration).toHaveBeenCalledWith(adapted, options, SIGNAL);
    await driver.plug("web1.example", { kind: "nic", nic: NIC }, SIGNAL);
    expect(plug).toHaveBeenCalledWith("web1.example", { kind: "nic", nic: USER_NIC }, SIGNAL);
  });

  it("leaves a driver the abilities it has, its own state, and no others", async () => {
    class Driver {
      readonly name = "kvm";
      #memory = 0;
      async setMemory(_: string, memoryMib: number): Promise<void> {
        this.#memory = memoryMib;
      }
      async state(): Promise<number> {
        return this.#memory;
      }
    }
    const driver = withUserNetworking(new Driver() as unknown as HypervisorDriver);
    expect(canHypervisor(driver, "migrate")).toBe(false);
    if (!canHypervisor(driver, "setMemory")) throw new Error("the ability is lost");
    await driver.setMemory("web1.example", 64, SIGNAL);
    expect(await driver.state("web1.example")).toBe(64);
  });
});
