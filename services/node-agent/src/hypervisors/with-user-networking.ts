/**
 * Guests' networking without the right to make network interfaces: NICs that would join a bridge get qemu's own
 * user networking instead. For trying things out; the agent's configuration asks for it.
 */
import type { GuestSpec, HypervisorDriver } from "@gannet/driver-contract";

/** The driver with every bridged NIC of its guests in mode `user`. */
export function withUserNetworking(driver: HypervisorDriver): HypervisorDriver {
  const adapted = (guest: GuestSpec): GuestSpec => ({
    ...guest,
    nics: guest.nics.map((nic) => (nic.mode === "bridged" ? { ...nic, mode: "user" } : nic)),
  });
  return {
    name: driver.name,
    recover: () => driver.recover(),
    describe: (signal) => driver.describe(signal),
    validate: (guest, signal) => driver.validate(adapted(guest), signal),
    start: (guest, options, signal) => driver.start(adapted(guest), options, signal),
    stop: (name, options, signal) => driver.stop(name, options, signal),
    reboot: (name, options, signal) => driver.reboot(name, options, signal),
    state: (name) => driver.state(name),
    list: () => driver.list(),
    console: (name) => driver.console(name),
    onChange: (listener) => driver.onChange(listener),
    close: () => driver.close(),
  };
}
