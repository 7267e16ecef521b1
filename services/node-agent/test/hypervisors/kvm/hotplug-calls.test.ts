/** Places of devices that come and go, and what qemu is told of them: pure. */
import type { GuestDisk } from "@gannet/driver-contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DevicePlaces, DeviceSlots } from "../../../src/hypervisors/kvm/argv/device-slots.ts";
import { machineFamily } from "../../../src/hypervisors/kvm/argv/machine-family.ts";
import { placesOf, qemuArgv } from "../../../src/hypervisors/kvm/argv.ts";
import { deviceCalls } from "../../../src/hypervisors/kvm/hotplug/device-calls.ts";
import { DISK, DISK_ID, NIC, NIC_ID, type PlanChanges, planOf } from "./plan-fixture.ts";

const checked = (changes: PlanChanges) => {
  const plan = planOf(changes);
  return { ...plan, places: placesOf(plan) };
};

describe("places", () => {
  const pc = machineFamily("pc-i440fx-7.2");
  const { params } = planOf({});

  it("are kept by devices that had one, and nobody gets another's", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(9)), { maxLength: 60 }), (steps) => {
        let kept: DevicePlaces = {};
        for (const [plug, number] of steps) {
          const id = `disk-${number}`;
          if (!plug) {
            const { [id]: _, ...rest } = kept;
            kept = rest;
            continue;
          }
          const slots = new DeviceSlots(pc, params, kept);
          const place = slots.pci(id);
          if (kept[id] !== undefined) expect(place).toEqual(kept[id]);
          kept = { ...kept, [id]: place };
          const taken = Object.values(kept).map((each) => JSON.stringify(each));
          expect(new Set(taken).size).toBe(taken.length);
        }
      }),
    );
  });

  it("of a guest that has run are those of its next command line, whatever the order of its devices", () => {
    const second: GuestDisk = { ...DISK, uuid: "d15c1111-1111-2222-3333-444444444444", index: 1 };
    const { places } = checked({ guest: { disks: [DISK, second], nics: [NIC] } });
    const swapped = planOf({ guest: { disks: [{ ...second, index: 0 }, DISK], nics: [] }, plan: { places } });
    expect(placesOf(swapped)).toEqual(
      Object.fromEntries(Object.entries(places).filter(([id]) => !id.startsWith("nic-"))),
    );
    expect(qemuArgv({ ...swapped, incoming: true })).toEqual(
      expect.arrayContaining(["-incoming", "defer", expect.stringContaining('"addr":"0xf"')]),
    );
  });
});

describe("what qemu is told to plug in", () => {
  it.each([
    ["disk", { kind: "disk", disk: DISK }, DISK_ID],
    ["NIC", { kind: "nic", nic: { ...NIC, mode: "user" } }, NIC_ID],
  ] as const)("is for a %s what its command line says, but its turn to boot", (_, device, id) => {
    const plan = checked({ guest: { disks: [DISK], nics: [{ ...NIC, mode: "user" }] } });
    const said = qemuArgv(plan)
      .filter((argument) => argument.startsWith("{") && argument.includes(id))
      .map((argument) => JSON.parse(argument));
    const calls = deviceCalls(plan, device);
    expect(calls.id).toBe(id);
    expect(calls.controller).toBeUndefined();
    const { bootindex: _bootindex, ...front } = said[1];
    expect([calls.backend, calls.device]).toEqual([said[0], front]);
  });

  it("begins with the controller for a SCSI disk", () => {
    const params = { disk_type: "scsi-hd", scsi_controller_type: "virtio-scsi-pci" };
    const { controller, device } = deviceCalls(checked({ params, guest: { disks: [DISK] } }), {
      kind: "disk",
      disk: DISK,
    });
    expect(controller).toEqual({ driver: "virtio-scsi-pci", id: "scsi", bus: "pci.0", addr: "0xc" });
    expect(device).toMatchObject({ driver: "scsi-hd", bus: "scsi.0", "scsi-id": 0 });
  });
});
