/** What rows of one configuration share, computed once for each configuration. */
import type { ConfigView, HypervisorName, NetworkUuid, Parameters } from "@gannet/objects";
import { inheritedHvparams, withoutGlobals } from "@gannet/objects";
import { niceSort } from "./nice-sort.ts";

export interface ViewIndex {
  /** Names of the instances that have a NIC in the network, in order. */
  instancesOfNetwork(network: NetworkUuid): readonly string[];
  /** What instances of this hypervisor and OS inherit, without what only the cluster sets. */
  inheritedHvparams(hypervisor: HypervisorName, os: string): Parameters;
}

const indexes = new WeakMap<ConfigView, ViewIndex>();

/** The index of a configuration; it lives as long as the configuration does. */
export function indexOf(view: ConfigView): ViewIndex {
  const present = indexes.get(view);
  if (present !== undefined) return present;
  const index = makeIndex(view);
  indexes.set(view, index);
  return index;
}

function makeIndex(view: ConfigView): ViewIndex {
  let networks: ReadonlyMap<NetworkUuid, readonly string[]> | undefined;
  const inherited = new Map<string, Parameters>();
  return {
    instancesOfNetwork(network) {
      networks ??= namesByNetwork(view);
      return networks.get(network) ?? [];
    },
    inheritedHvparams(hypervisor, os) {
      const key = `${hypervisor}/${os}`;
      const known = inherited.get(key);
      if (known !== undefined) return known;
      const values = withoutGlobals(inheritedHvparams(view.cluster, hypervisor, os));
      inherited.set(key, values);
      return values;
    },
  };
}

function namesByNetwork(view: ConfigView): ReadonlyMap<NetworkUuid, readonly string[]> {
  const names = new Map<NetworkUuid, Set<string>>();
  for (const instance of view.instances.values())
    for (const { network } of instance.nics) {
      if (network === null) continue;
      const there = names.get(network);
      if (there === undefined) names.set(network, new Set([instance.name]));
      else there.add(instance.name);
    }
  return new Map(Array.from(names, ([network, set]) => [network, niceSort(set, (name) => name)]));
}
