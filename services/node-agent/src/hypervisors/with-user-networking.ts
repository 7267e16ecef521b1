/**
 * Guests' networking without the right to make network interfaces: NICs that would join a bridge get qemu's own
 * user networking instead. For trying things out; the agent's configuration asks for it.
 */
import type { GuestNic, GuestSpec, HotplugDevice, HypervisorDriver } from "@gannet/driver-contract";

type Adapt = (args: readonly unknown[]) => readonly unknown[];

const guestFirst: Adapt = ([guest, ...rest]) => [withUserNics(guest as GuestSpec), ...rest];
const deviceSecond: Adapt = ([name, device, ...rest]) => [name, withUserNic(device as HotplugDevice), ...rest];

/** Methods of drivers and of their abilities that are given NICs; every other one is passed on as it is. */
const GIVEN_NICS: Readonly<Record<string, Adapt>> = {
  validate: guestFirst,
  start: guestFirst,
  acceptMigration: guestFirst,
  migrate: guestFirst,
  finishMigrationTarget: guestFirst,
  plug: deviceSecond,
  unplug: deviceSecond,
  replug: deviceSecond,
};

/** The driver, with the abilities it has, and every bridged NIC of its guests in mode `user`. */
export function withUserNetworking<Driver extends HypervisorDriver>(driver: Driver): Driver {
  return new Proxy(driver, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key, target);
      if (typeof member !== "function") return member;
      const adapt = GIVEN_NICS[String(key)];
      return (...args: unknown[]) => member.apply(target, adapt === undefined ? args : adapt(args));
    },
  });
}

function withUserNics(guest: GuestSpec): GuestSpec {
  return { ...guest, nics: guest.nics.map(userNic) };
}

function withUserNic(device: HotplugDevice): HotplugDevice {
  return device.kind === "nic" ? { ...device, nic: userNic(device.nic) } : device;
}

function userNic(nic: GuestNic): GuestNic {
  return nic.mode === "bridged" ? { ...nic, mode: "user" } : nic;
}
