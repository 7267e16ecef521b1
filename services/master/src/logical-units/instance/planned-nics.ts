/** The NICs of a new instance: the opcode's list checked against the cluster's parameters. Pure. */
import { isIP } from "node:net";
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  checkNicParameters,
  enforceTypes,
  filledNicparams,
  MAX_NICS,
  NIC_PARAMETERS,
  normalizeMac,
  type Parameters,
} from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";

type AskedNic = Op<typeof InstanceCreate>["nics"][number];

export interface PlannedNic {
  readonly name: string | null;
  /** Null: generated when the row is written. */
  readonly mac: string | null;
  readonly ip: string | null;
  /** What the NIC sets itself. */
  readonly nicparams: Parameters;
}

const GENERATED_MAC = ["auto", "generate"];

/** @throws OpPrereqError or ConfigurationError, naming the NIC */
export function plannedNics(asked: readonly AskedNic[], view: ConfigView): readonly PlannedNic[] {
  if (asked.length > MAX_NICS)
    throw new OpPrereqError(`${asked.length} NICs were given; the most is ${MAX_NICS}`, "wrong_input");
  return asked.map((nic, index) => plannedNic(nic, index, view));
}

function plannedNic(asked: AskedNic, index: number, view: ConfigView): PlannedNic {
  const where = `NIC ${index}`;
  if (asked.bridge && asked.link)
    throw new OpPrereqError(`${where}: 'bridge' is the older name of 'link'; give one of them`, "wrong_input");
  const network = asked.network && asked.network !== "none" ? asked.network : null;
  if (network !== null && view.findNetwork(network) === undefined)
    throw new OpPrereqError(`${where}: network '${network}' is not known`, "unknown_entity");
  const own = {
    ...(asked.mode ? { mode: asked.mode } : {}),
    ...(asked.link || asked.bridge ? { link: (asked.link || asked.bridge) as string } : {}),
    ...(asked.vlan ? { vlan: asked.vlan } : {}),
  };
  const nicparams = enforceTypes(`${where}: parameter`, NIC_PARAMETERS, own);
  const ip = plannedIp(asked.ip ?? null, where);
  checkNicParameters(filledNicparams(view.cluster, undefined, nicparams), ip);
  const mac = !asked.mac || GENERATED_MAC.includes(asked.mac) ? null : normalizeMac(asked.mac);
  if (mac !== null && macInUse(view, mac))
    throw new OpPrereqError(`${where}: MAC address ${mac} is in use in the cluster`, "resource_not_unique");
  return { name: asked.name ?? null, mac, ip, nicparams };
}

function plannedIp(asked: string | null, where: string): string | null {
  if (asked === null || asked === "" || asked === "none") return null;
  if (asked === "pool") throw new OpPrereqError(`${where}: ip=pool needs a network`, "wrong_input");
  if (isIP(asked) === 0) throw new OpPrereqError(`${where}: '${asked}' is no IP address`, "wrong_input");
  return asked;
}

export function macInUse(view: ConfigView, mac: string): boolean {
  for (const instance of view.instances.values()) if (instance.nics.some((nic) => nic.mac === mac)) return true;
  return false;
}
