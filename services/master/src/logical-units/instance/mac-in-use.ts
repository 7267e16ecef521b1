import type { ConfigView } from "@gannet/objects";

/** Whether a NIC of any instance has the address. */
export function macInUse(view: ConfigView, mac: string): boolean {
  for (const instance of view.instances.values()) if (instance.nics.some((nic) => nic.mac === mac)) return true;
  return false;
}
