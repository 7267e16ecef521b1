/** An instance's NICs after OP_INSTANCE_SET_PARAMS: what was asked, checked, and what is drawn at the commit. Pure. */
import { randomBytes, randomUUID } from "node:crypto";
import { isIP } from "node:net";
import type { ConfigChange } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import {
  askedDeviceName,
  type ConfigView,
  checkNicParameters,
  filledNicparams,
  generateMac,
  type Instance,
  MAX_NICS,
  type Network,
  type NetworkUuid,
  NIC_PARAMETERS,
  type Nic,
  type Node,
  nicparamsOf,
  normalizeMac,
  type Parameters,
  updateParameters,
} from "@gannet/objects";
import type { ChangeList, SetParamsOp } from "./changed-parameters.ts";
import { changedDevices, type DeviceChange } from "./device-changes.ts";
import type { HotplugOutcomes } from "./device-hotplug.ts";
import { macInUse } from "./mac-in-use.ts";
import { AddressPools, checkForeignAddress } from "./nic-addresses.ts";

type Settings = SetParamsOp["nics"][number][2];

/** A NIC as it is to be; what is null here of `mac`, and `"pool"` of `ip`, is drawn when the row is written. */
export interface NicDraft {
  readonly uuid: string;
  readonly name: string | null;
  readonly mac: string | null;
  readonly ip: string | null;
  readonly network: NetworkUuid | null;
  readonly nicparams: Parameters;
}

export interface NicPlan {
  readonly drafts: readonly NicDraft[];
  readonly changes: readonly DeviceChange<NicDraft, Settings>[];
  /** As they would be written now, for checks. */
  readonly nics: readonly Nic[];
  /** Whether addresses that are kept for others may be taken. */
  readonly external: "refused" | "taken";
}

/** In place of an address: one of the network's pool. */
const POOL = "pool";
/** In place of a network or an address: none. */
const NONE = "none";
const GENERATED_MAC = ["auto", "generate"];

/**
 * @param primary - the node that the instance will be on
 * @throws OpPrereqError naming the NIC: wrong_input, unknown_entity, resource_not_unique, wrong_state,
 *   insufficient_resources
 */
export function planNics(view: ConfigView, instance: Instance, primary: Node, op: SetParamsOp): NicPlan {
  const context = { view, primary, conflictsCheck: op.conflicts_check };
  const { items, changes } = changedDevices<NicDraft, Settings>(instance.nics, op.nics, {
    kind: "NIC",
    most: MAX_NICS,
    add: (settings, index) => changedNic(context, undefined, settings, `NIC ${index}`),
    modify: (nic, settings, index) => changedNic(context, nic, settings, `NIC ${index}`),
  });
  checkMacs(view, instance, items);
  const external = op.conflicts_check ? "refused" : "taken";
  const { nics } = writtenNics(view, instance, { drafts: items, external });
  return { drafts: items, changes, nics, external };
}

interface NicContext {
  readonly view: ConfigView;
  readonly primary: Node;
  readonly conflictsCheck: boolean;
}

export function changedNic(context: NicContext, nic: NicDraft | undefined, asked: Settings, where: string): NicDraft {
  const { view, primary } = context;
  const network = networkAfter(view, primary, nic, asked, where);
  const nicparams = paramsAfter(nic, asked, network, where);
  const ip = addressAfter(nic, asked, network, where);
  const connection = network === null ? undefined : view.groups.get(primary.group)?.networks[network.uuid];
  checkNicParameters(filledNicparams(view.cluster, connection, nicparams), ip);
  const after = { ip, network: network?.uuid ?? null };
  const isNew = after.ip !== (nic?.ip ?? null) || after.network !== (nic?.network ?? null);
  if (isNew && network === null && ip !== null && context.conflictsCheck)
    checkForeignAddress(view, primary.group, ip, where);
  return {
    uuid: nic?.uuid ?? randomUUID(),
    name: asked.name == null ? (nic?.name ?? null) : askedDeviceName(asked.name),
    mac: macAfter(view, nic, asked, network, where),
    ...after,
    nicparams,
  };
}

/** @throws OpPrereqError: unknown_entity, wrong_input when the network is not connected to the node's group */
function networkAfter(
  view: ConfigView,
  { group }: Node,
  nic: NicDraft | undefined,
  { network: asked, mode, link, bridge, vlan }: Settings,
  where: string,
): Network | null {
  if (asked == null) return (nic?.network && view.networks.get(nic.network)) ?? null;
  if (asked === NONE) return null;
  const network = view.findNetwork(asked);
  if (network === undefined) throw new OpPrereqError(`${where}: network '${asked}' is not known`, "unknown_entity");
  if (mode ?? link ?? bridge ?? vlan)
    throw new OpPrereqError(
      `${where}: mode, link and vlan come from network ${network.name}; leave them out`,
      "wrong_input",
    );
  const row = view.groups.get(group);
  if (row?.networks[network.uuid] === undefined)
    throw new OpPrereqError(
      `${where}: network ${network.name} is not connected to node group ${row?.name ?? group}; connect it first`,
      "wrong_input",
    );
  return network;
}

function paramsAfter(
  nic: NicDraft | undefined,
  { network: askedNetwork, mode, link, bridge, vlan }: Settings,
  network: Network | null,
  where: string,
): Parameters {
  if (bridge && link)
    throw new OpPrereqError(`${where}: 'bridge' is the older name of 'link'; give one of them`, "wrong_input");
  const asked = { mode, link: link ?? bridge, vlan };
  const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value != null));
  if (network !== null && nic !== undefined && nic.network === network.uuid && Object.keys(given).length > 0)
    throw new OpPrereqError(
      `${where}: mode, link and vlan come from network ${network.name}; take it out of the network first (network=none)`,
      "wrong_input",
    );
  // In another network than before, what it had set itself is gone: the network says it.
  const own = askedNetwork != null && network !== null ? {} : (nic?.nicparams ?? {});
  return updateParameters(`${where}: parameter`, NIC_PARAMETERS, own, given);
}

function addressAfter(
  nic: NicDraft | undefined,
  { ip: asked }: Settings,
  network: Network | null,
  where: string,
): string | null {
  if (asked == null) return nic?.ip ?? null;
  if (asked === "" || asked === NONE) return null;
  if (asked === POOL) {
    if (network === null) throw new OpPrereqError(`${where}: ip=pool needs a network`, "wrong_input");
    return POOL;
  }
  if (isIP(asked) === 0) throw new OpPrereqError(`${where}: '${asked}' is no IP address`, "wrong_input");
  return asked;
}

function macAfter(
  view: ConfigView,
  nic: NicDraft | undefined,
  { mac: asked }: Settings,
  network: Network | null,
  where: string,
): string | null {
  if (asked != null && !GENERATED_MAC.includes(asked)) return normalizeMac(asked);
  if (nic === undefined || asked === "generate") return null;
  if (asked === "auto")
    throw new OpPrereqError(
      `${where}: a NIC that exists has a MAC address; for another one give generate`,
      "wrong_input",
    );
  // A network may have a prefix of its own.
  const before = nic.network === null ? undefined : view.networks.get(nic.network);
  return prefixOf(view, before) === prefixOf(view, network) ? nic.mac : null;
}

function prefixOf({ cluster }: ConfigView, network: Network | null | undefined): string {
  return network?.macPrefix || cluster.macPrefix;
}

/** @throws OpPrereqError (resource_not_unique) */
export function checkMacs(view: ConfigView, instance: Pick<Instance, "nics">, drafts: readonly NicDraft[]): void {
  const own = new Set(instance.nics.map(({ mac }) => mac));
  const macs = drafts.flatMap(({ mac }) => mac ?? []);
  const taken = macs.find((mac, position) => macs.indexOf(mac) !== position || (!own.has(mac) && macInUse(view, mac)));
  if (taken !== undefined)
    throw new OpPrereqError(`MAC address ${taken} is already in use in the cluster`, "resource_not_unique");
}

/**
 * The NICs as they are written, with MAC addresses and addresses of pools drawn from the view, and the changes of the
 * networks' rows that belong to them.
 * @throws OpPrereqError: resource_not_unique, insufficient_resources
 */
export function writtenNics(
  view: ConfigView,
  { nics: before }: Pick<Instance, "nics">,
  { drafts, external }: Pick<NicPlan, "drafts" | "external">,
): { readonly nics: Nic[]; readonly networks: readonly ConfigChange[] } {
  const pools = new AddressPools(view);
  const old = new Map(before.map((nic) => [nic.uuid, nic]));
  const holds = ({ uuid, ip, network }: NicDraft) => {
    const had = old.get(uuid);
    return had !== undefined && had.ip === ip && had.network === network;
  };
  const kept = new Set(drafts.filter(holds).map(({ uuid }) => uuid));
  for (const nic of before) if (!kept.has(nic.uuid)) pools.release(nic);
  // Those that were named first: none of them may be drawn for another.
  for (const draft of drafts) if (!kept.has(draft.uuid) && draft.ip !== POOL) pools.reserve(draft, { external });
  const taken = new Set(drafts.flatMap(({ mac }) => mac ?? []));
  const nics = drafts.map((draft): Nic => {
    const { network } = draft;
    const ip = draft.ip === POOL && network !== null ? pools.draw(network) : draft.ip;
    const prefix = prefixOf(view, network === null ? null : view.networks.get(network));
    const mac = draft.mac ?? generateMac(prefix, (each) => taken.has(each) || macInUse(view, each), randomBytes);
    taken.add(mac);
    return { ...draft, mac, ip };
  });
  return { nics, networks: pools.changes() };
}

/** What clients are told of the NICs, once their row is written; spellings are Ganeti's. */
export function nicChanges(
  view: ConfigView,
  instance: Instance,
  { changes }: NicPlan,
  hotplugged: HotplugOutcomes,
): ChangeList {
  return changes.flatMap(({ operation, index, item, settings }): ChangeList => {
    const outcome = hotplugged.get(item.uuid);
    const inGuest = (key: string): ChangeList => (outcome === undefined ? [] : [[key, outcome]]);
    const nic = instance.nics.find(({ uuid }) => uuid === item.uuid);
    if (operation === "remove" || nic === undefined) return [[`NIC/${index}`, "remove"], ...inGuest(`NIC/${index}`)];
    const filled = nicparamsOf(view, instance, nic);
    const network = (nic.network && view.networks.get(nic.network)?.name) ?? null;
    if (operation === "add")
      return [
        [
          `nic.${index}`,
          `add:mac=${nic.mac},ip=${nic.ip ?? "None"},mode=${filled.mode},link=${filled.link},network=${network ?? "None"}`,
        ],
        ...inGuest(`nic.${index}`),
      ];
    const own = (["mac", "ip", "name"] as const).flatMap(
      (key): ChangeList => (settings[key] == null ? [] : [[`nic.${key}/${index}`, nic[key]]]),
    );
    const moved: ChangeList = settings.network == null ? [] : [[`nic.network/${index}`, network]];
    const params = (["link", "mode", "vlan"] as const).map((key): [string, unknown] => [
      `nic.${key}/${index}`,
      filled[key] ?? "",
    ]);
    return [...own, ...moved, ...params, ...inGuest(`nic/${index}`)];
  });
}
