/** What a target makes of what a source tells, and how migrations are to go: pure. */
import type { GuestSpec } from "@gannet/driver-contract";
import type { Parameters } from "@gannet/objects";
import { KVM_MIGRATION_CAPABILITIES } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GuestMonitor } from "../../../src/hypervisors/kvm/guest-monitor.ts";
import {
  arrivingGuest,
  type MigrationInfo,
  readMigrationInfo,
  writeMigrationInfo,
} from "../../../src/hypervisors/kvm/migration/migration-info.ts";
import { migrationSettings, setCapabilities } from "../../../src/hypervisors/kvm/migration/migration-settings.ts";
import { DISK, NIC, planOf } from "./plan-fixture.ts";

const guestOf = (params: Parameters = {}, changes: Partial<GuestSpec> = {}): GuestSpec =>
  planOf({ params, guest: changes }).guest;
const infoOf = (guest: GuestSpec): MigrationInfo => ({
  version: 1,
  guest,
  machine: "pc-i440fx-7.2",
  places: { balloon: { bus: "pci.0", addr: "0xc" } },
  accelerator: "tcg",
  qemuVersion: "7.2.22",
  wasRunning: true,
  ranSeconds: 12.5,
  sender: ["OU=node", "CN=node1.example"],
});

describe("the information of a migration", () => {
  it("is read as it was written", () => {
    const info = infoOf(guestOf({}, { disks: [DISK], nics: [NIC] }));
    expect(readMigrationInfo(info.guest, writeMigrationInfo(info))).toEqual(info);
  });

  it("of any other text is refused, in bounds", () => {
    const text = writeMigrationInfo(infoOf(guestOf()));
    const refusal = /what its source tells of it cannot be read/;
    for (const broken of ["", "null", "[]", text.slice(1), text.replace('"version":1', '"version":2')])
      expect(() => readMigrationInfo(guestOf(), broken)).toThrow(refusal);
    expect(() => readMigrationInfo(guestOf(), text.replace("CN=node1", "CN=*,OU=node1"))).toThrow(refusal);
    expect(() => readMigrationInfo(guestOf(), `${text}${" ".repeat(300_000)}`)).toThrow(/more than \d+ characters/);
    expect(() => readMigrationInfo(guestOf({}, { uuid: DISK.uuid }), text)).toThrow(/the source would send web1/);
  });

  it("of any text at all is a guest's or refused as such", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(() => readMigrationInfo(guestOf(), text)).toThrow(
          expect.objectContaining({ name: "HypervisorError" }) as Error,
        );
      }),
      { numRuns: 50 },
    );
  });
});

describe("a guest that arrives", () => {
  it("has the machine it has at its source, and this node's disks and networks", () => {
    const running = guestOf(
      { disk_type: "scsi-hd", cpu_type: "max", vnc_bind_address: "127.0.0.1" },
      { disks: [DISK], nics: [NIC], vcpus: 2, maxMemoryMib: 512, startMemoryMib: 256 },
    );
    const second = { ...DISK, uuid: "d15c9999-1111-2222-3333-444444444444", index: 0 };
    const configured = guestOf(
      { disk_type: "paravirtual", cpu_type: "host", vnc_bind_address: "", migration_bandwidth: 7 },
      {
        disks: [second, { ...DISK, index: 1, path: "/dev/here" }],
        nics: [{ ...NIC, link: "br1", mac: "aa:00:00:00:00:02" }],
        ...{ vcpus: 8, maxMemoryMib: 4096, startMemoryMib: 4096, networkPort: 11_000 },
      },
    );
    const arriving = arrivingGuest(configured, infoOf(running));
    expect(arriving).toMatchObject({ vcpus: 2, maxMemoryMib: 512, startMemoryMib: 256, networkPort: 11_000 });
    expect(arriving.disks).toEqual([{ ...DISK, path: "/dev/here", index: 0 }]);
    expect(arriving.nics).toEqual([{ ...NIC, link: "br1" }]);
    expect(arriving.hvparams).toMatchObject({
      disk_type: "scsi-hd",
      cpu_type: "max",
      vnc_bind_address: "",
      migration_bandwidth: 7,
    });
  });

  it.each<Parameters>([
    { kvm_extra: "-device e1000" },
    { cdrom_image_path: "/etc/shadow" },
    { kernel_path: "/etc/shadow" },
    { usb_devices: "host:1234:5678" },
  ])("is refused when its source would have %j here", (params) => {
    const [name = ""] = Object.keys(params);
    expect(() => arrivingGuest(guestOf(), infoOf(guestOf(params)))).toThrow(`${name} has changed since its start`);
  });

  it.each<Parameters>([
    { kvm_path: "/tmp/evil" },
    { security_model: "user", security_domain: "root" },
    { use_chroot: false },
    { vnc_password_file: "/etc/shadow" },
    { mem_path: "/etc" },
  ])("does not have %j of its source, but this cluster's", (params) => {
    const own = guestOf({ use_chroot: true, security_model: "pool" });
    expect(arrivingGuest(own, infoOf(guestOf(params))).hvparams).toEqual(own.hvparams);
  });

  it("is refused when a device has gone from the configuration", () => {
    const running = infoOf(guestOf({}, { disks: [DISK], nics: [NIC] }));
    expect(() => arrivingGuest(guestOf({}, { nics: [NIC] }), running)).toThrow(/its disk 0 .* reboot the instance/);
    expect(() => arrivingGuest(guestOf({}, { disks: [DISK] }), running)).toThrow(/its NIC 0 .* reboot the instance/);
  });
});

describe("the settings of a migration", () => {
  it("are those of the parameters, in qemu's units", () => {
    const params = { migration_bandwidth: 32, migration_downtime: 30, migration_port: 9000 };
    expect(migrationSettings(guestOf(params))).toEqual({
      limits: {
        "max-bandwidth": 33_554_432,
        "max-postcopy-bandwidth": 33_554_432,
        "downtime-limit": 30,
      },
      capabilities: ["auto-converge", "events", "return-path"],
      unused: [],
      firstPort: 9000,
    });
    const chosen = migrationSettings(guestOf({ migration_caps: "postcopy-ram:xbzrle:auto-converge:multifd:x-colo" }));
    expect(chosen.capabilities).toEqual(["auto-converge", "events", "return-path", "postcopy-ram", "xbzrle"]);
    expect(chosen.unused).toEqual(["multifd", "x-colo"]);
  });

  it("take 0 for no limit of the bandwidth and for the shortest pause", () => {
    const { limits } = migrationSettings(guestOf({ migration_bandwidth: 0, migration_downtime: 0 }));
    expect(limits["max-bandwidth"]).toBeGreaterThan(2 ** 40);
    expect(limits["downtime-limit"]).toBe(1);
  });

  it.each(["xbzlre", "-S", "toString"])("refuse the capability %s", (capability) => {
    expect(() => migrationSettings(guestOf({ migration_caps: capability }))).toThrow(
      `migration_caps: qemu knows no ${capability}`,
    );
  });
});

describe("a qemu's capabilities", () => {
  /** One that has these, all off. */
  const qemuWith = (names: readonly string[]) => {
    const calls: unknown[] = [];
    const execute = async (call: { readonly name: string }) => {
      if (call.name === "query-migrate-capabilities") return names.map((capability) => ({ capability, state: false }));
      calls.push(call);
    };
    return { calls, monitor: { execute } as unknown as Pick<GuestMonitor, "execute"> };
  };
  const asked = migrationSettings(guestOf({ migration_caps: "xbzrle:zero-blocks:multifd" }));

  it("are switched on, and those that it has not or nobody uses stay off, which is told", async () => {
    const { calls, monitor } = qemuWith(["auto-converge", "events", "return-path", "xbzrle", "multifd"]);
    expect(await setCapabilities(monitor, asked)).toEqual(["multifd", "zero-blocks"]);
    const on = ["auto-converge", "events", "return-path", "xbzrle"];
    const capabilities = on.map((capability) => ({ capability, state: true }));
    expect(calls).toEqual([{ name: "migrate-set-capabilities", arguments: { capabilities } }]);
  });

  it.each([
    ["return-path", asked],
    ["postcopy-ram", migrationSettings(guestOf({ migration_caps: "postcopy-ram" }))],
  ])("must have %s", async (name, settings) => {
    const { calls, monitor } = qemuWith(Object.keys(KVM_MIGRATION_CAPABILITIES).filter((each) => each !== name));
    await expect(setCapabilities(monitor, settings)).rejects.toThrow(`does not know the capability ${name}`);
    expect(calls).toEqual([]);
  });
});
