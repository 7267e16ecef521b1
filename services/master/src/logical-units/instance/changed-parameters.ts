/** An instance's parameters after OP_INSTANCE_SET_PARAMS, checked as far as that needs no node. Pure. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  checkBackendParameters,
  checkHypervisorParameters,
  checkOsParameterNames,
  filledBeparams,
  filledHvparams,
  filledOsparams,
  filledPrivateOsparams,
  type Instance,
  inheritedBeparams,
  parseOsName,
  refuseGlobalParameters,
  updateBackendParameters,
  updateHypervisorParameters,
  updateOsParameters,
} from "@gannet/objects";
import { type InstanceSetParams, type Op, REDACTED } from "@gannet/opcodes";

export type SetParamsOp = Op<typeof InstanceSetParams>;

/** The part of an instance's row that holds its parameters. */
export type InstanceParameters = Pick<Instance, "beparams" | "hvparams" | "os" | "osparams" | "osparamsPrivate">;

/** `[parameter, new value]` each, as clients are told. */
export type ChangeList = [string, unknown][];

/** @throws OpPrereqError (wrong_input), TypeEnforcementError */
export function changedParameters(view: ConfigView, instance: Instance, op: SetParamsOp): InstanceParameters {
  const { cluster } = view;
  refuseGlobalParameters(op.hvparams);
  const os = op.os_name ?? instance.os;
  if (op.os_name != null) parseOsName(op.os_name);
  const changed: InstanceParameters = {
    beparams: updateBackendParameters(instance.beparams, op.beparams, inheritedBeparams(cluster)),
    hvparams: updateHypervisorParameters(instance.hypervisor, instance.hvparams, op.hvparams),
    os,
    osparams: updateOsParameters(instance.osparams, op.osparams),
    osparamsPrivate: updateOsParameters(instance.osparamsPrivate, op.osparams_private ?? {}),
  };
  const after = { ...instance, ...changed };
  const beparams = filledBeparams(cluster, after);
  const hvparams = filledHvparams(cluster, after);
  if (hasKeys(op.beparams)) checkBackendParameters(beparams);
  // Another OS may bring other parameters along.
  if (hasKeys(op.hvparams) || os !== instance.os) checkHypervisorParameters(instance.hypervisor, hvparams);
  if (hasKeys(op.beparams) || hasKeys(op.hvparams)) checkCpuMask(Number(beparams.vcpus), hvparams.cpu_mask);
  if (changesOsParameters(op))
    checkOsParameterNames(filledOsparams(cluster, after), filledPrivateOsparams(cluster, after));
  return changed;
}

export function hasKeys(values: object | null | undefined): boolean {
  return Object.keys(values ?? {}).length > 0;
}

/** Whether scripts of the OS definition are given something else than before. */
export function changesOsParameters({ osparams, osparams_private }: SetParamsOp): boolean {
  return hasKeys(osparams) || hasKeys(osparams_private);
}

/** A mask with an entry for each processor has as many as there are. */
function checkCpuMask(vcpus: number, mask: unknown): void {
  const entries = typeof mask === "string" && mask !== "" ? mask.split(":").length : 1;
  if (entries > 1 && entries !== vcpus)
    throw new OpPrereqError(
      `cpu_mask '${String(mask)}' is for ${entries} processors, and the instance has ${vcpus} (vcpus)`,
      "wrong_input",
    );
}

/** What clients are told of the parameters, with the values that were asked for; private ones are never told. */
export function parameterChanges(op: SetParamsOp): ChangeList {
  return [
    ...named("hv", op.hvparams),
    ...named("be", op.beparams),
    ...named("os", op.osparams),
    ...Object.keys(op.osparams_private ?? {}).map((name): [string, unknown] => [`os_private/${name}`, REDACTED]),
  ];
}

function named(prefix: string, values: Readonly<Record<string, unknown>>): ChangeList {
  return Object.entries(values).map(([name, value]) => [`${prefix}/${name}`, value]);
}
