/** One instance with what its fields come from; values that several fields share are computed once. */
import type { ConfigView, Disk, Instance, Network, Nic, Node, NodeGroup, Parameters } from "@gannet/objects";
import { filledBeparams, filledOsparams, nicparamsOf } from "@gannet/objects";
import type { InstanceStatus } from "../instance-status.ts";
import { instanceStatus, isRunning } from "../instance-status.ts";
import type { LiveInstance, LiveValues } from "../live-values.ts";
import type { Cell } from "../result-status.ts";
import { available, NO_DATA, normal, OFFLINE, UNAVAILABLE } from "../result-status.ts";
import { indexOf } from "../view-index.ts";

/** A NIC with its complete parameters and its network. */
export interface FilledNic {
  readonly nic: Nic;
  readonly mode: string;
  readonly link: string;
  /** The link where it is a bridge, else null. */
  readonly bridge: string | null;
  /** The VLANs where the link is an Open vSwitch, else null. */
  readonly vlan: string | null;
  /** The VLANs as they are set, whatever the mode. */
  readonly vlanText: string;
  readonly network: Network | undefined;
}

export class InstanceContext {
  readonly instance: Instance;
  readonly view: ConfigView;
  readonly #live: LiveValues;
  #seen: LiveInstance | null | undefined;
  #reachable: boolean | undefined;
  #disks: readonly Disk[] | undefined;
  #nics: readonly FilledNic[] | undefined;
  #beparams: Parameters | undefined;
  #hvparams: Parameters | undefined;

  constructor(instance: Instance, view: ConfigView, live: LiveValues) {
    this.instance = instance;
    this.view = view;
    this.#live = live;
  }

  get primary(): Node | undefined {
    return this.view.nodes.get(this.instance.primaryNode);
  }

  get primaryGroup(): NodeGroup | undefined {
    const { primary } = this;
    return primary === undefined ? undefined : this.view.groups.get(primary.group);
  }

  get secondaries(): readonly Node[] {
    return this.view.secondaryNodes(this.instance).flatMap((uuid) => this.view.nodes.get(uuid) ?? []);
  }

  get secondaryGroups(): readonly NodeGroup[] {
    const uuids = new Set(this.secondaries.map(({ group }) => group));
    return [...uuids].flatMap((uuid) => this.view.groups.get(uuid) ?? []);
  }

  get disks(): readonly Disk[] {
    this.#disks ??= this.view.disksOf(this.instance);
    return this.#disks;
  }

  get nics(): readonly FilledNic[] {
    this.#nics ??= this.instance.nics.map((nic) => this.#fillNic(nic));
    return this.#nics;
  }

  get beparams(): Parameters {
    this.#beparams ??= filledBeparams(this.view.cluster, this.instance);
    return this.#beparams;
  }

  /** Without what only the cluster sets. Instances without parameters of their own share one object. */
  get hvparams(): Parameters {
    this.#hvparams ??= this.#fillHvparams();
    return this.#hvparams;
  }

  get osparams(): Parameters {
    return filledOsparams(this.view.cluster, this.instance);
  }

  /** What was last seen of the guest, on whatever node. */
  get seen(): LiveInstance | undefined {
    if (this.#seen === undefined) this.#seen = this.#live.instance(this.instance) ?? null;
    return this.#seen ?? undefined;
  }

  get isRunning(): boolean {
    return this.seen !== undefined && isRunning(this.seen);
  }

  get status(): InstanceStatus {
    const { instance, seen, view } = this;
    return instanceStatus({
      adminState: instance.adminState,
      adminStateSource: instance.adminStateSource,
      primaryOffline: this.primary?.offline ?? false,
      primaryReachable: this.#primaryReachable,
      seen: seen && { status: seen.status, onPrimary: seen.node === instance.primaryNode },
      clusterUserShutdown: view.cluster.enabledUserShutdown,
      hypervisorUserShutdown: instance.hypervisor !== "kvm" || this.hvparams.user_shutdown === true,
    });
  }

  /** A value of the guest's state, or why there is none. */
  reported(value: () => Cell): Cell {
    if (this.primary?.offline) return OFFLINE;
    return this.seen === undefined && !this.#primaryReachable ? NO_DATA : value();
  }

  /** A value that only a running guest has. */
  reportedRunning(value: (seen: LiveInstance) => unknown): Cell {
    return this.reported(() => (this.seen !== undefined && this.isRunning ? normal(value(this.seen)) : UNAVAILABLE));
  }

  console(): Cell {
    return this.reported(() => (this.isRunning ? available(this.#live.console(this.instance)) : UNAVAILABLE));
  }

  get #primaryReachable(): boolean {
    this.#reachable ??= this.#live.node(this.instance.primaryNode) !== undefined;
    return this.#reachable;
  }

  #fillHvparams(): Parameters {
    const { hypervisor, os, hvparams } = this.instance;
    const inherited = indexOf(this.view).inheritedHvparams(hypervisor, os);
    return Object.keys(hvparams).length === 0 ? inherited : { ...inherited, ...hvparams };
  }

  #fillNic(nic: Nic): FilledNic {
    const params = nicparamsOf(this.view, this.instance, nic);
    const [mode, link, vlanText] = [String(params.mode), String(params.link), String(params.vlan)];
    return {
      nic,
      mode,
      link,
      bridge: mode === "bridged" ? link : null,
      vlan: mode === "openvswitch" ? vlanText : null,
      vlanText,
      network: nic.network === null ? undefined : this.view.networks.get(nic.network),
    };
  }
}
