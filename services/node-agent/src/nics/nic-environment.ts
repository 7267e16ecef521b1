/**
 * What a site's network script is told of a NIC, the same for every hypervisor (spec/node-ops.json, `nic.env`;
 * ganeti-instance(7) and Ganeti's kvm-ifup). A script gets these and nothing of the agent's own environment.
 */
import type { GuestNetwork, GuestNic, GuestSpec } from "@gannet/driver-contract";

export type NicEnvironment = Readonly<Record<string, string>>;

export interface NicEvent {
  /** The NIC's interface on this node, such as a tap. */
  readonly interface: string;
  readonly action: "up" | "down";
  /** On the target of a migration: before the guest comes, and when it has come. Only scripts of mode `ext` are told. */
  readonly migrationPhase?: "pre" | "post";
}

const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

/** Values that a NIC has not are left out, as scripts test for them. */
export function nicEnvironment(
  guest: Pick<GuestSpec, "name" | "tags">,
  nic: GuestNic,
  event: NicEvent,
): NicEnvironment {
  return {
    PATH,
    INSTANCE: guest.name,
    MAC: nic.mac,
    MODE: nic.mode,
    INTERFACE: event.interface,
    INTERFACE_INDEX: String(nic.index),
    INTERFACE_UUID: nic.uuid,
    TAGS: (guest.tags ?? []).join(" "),
    ACTION: event.action,
    ...present({
      MIGRATION_PHASE: event.migrationPhase ?? null,
      INTERFACE_NAME: nic.name,
      IP: nic.ip,
      LINK: nic.link,
      VLAN: nic.vlan,
      BRIDGE: nic.mode === "bridged" ? nic.link : null,
    }),
    ...(nic.network === undefined ? {} : networkEnvironment(nic.network)),
  };
}

/** `NETWORK_NAME` and the like; OS scripts get them with `NIC_<n>_` before. */
export function networkEnvironment(network: GuestNetwork): NicEnvironment {
  return {
    NETWORK_NAME: network.name,
    NETWORK_UUID: network.uuid,
    NETWORK_TAGS: network.tags.join(" "),
    ...present({
      NETWORK_SUBNET: network.subnet,
      NETWORK_GATEWAY: network.gateway,
      NETWORK_SUBNET6: network.subnet6,
      NETWORK_GATEWAY6: network.gateway6,
      NETWORK_MAC_PREFIX: network.macPrefix,
    }),
  };
}

function present(values: Readonly<Record<string, string | null>>): NicEnvironment {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== null && entry[1] !== ""),
  );
}
