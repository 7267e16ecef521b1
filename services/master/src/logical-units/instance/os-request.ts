/** An instance as the scripts of its OS definition are told of it. */
import {
  type ConfigView,
  filledBeparams,
  filledOsparams,
  filledPrivateOsparams,
  type Instance,
  type Parameters,
} from "@gannet/objects";
import { encodeParameters, type OsCreateRequest } from "@gannet/rpc";
import { instanceMessage, parameterTexts } from "./messages.ts";

/**
 * Public and private parameters with all that is inherited, as text, which is how they reach scripts.
 * @param secret - those of this one operation, which are kept nowhere
 */
export function osParameterTexts(
  view: ConfigView,
  instance: Pick<Instance, "os" | "osparams" | "osparamsPrivate">,
  secret: Parameters = {},
): Readonly<Record<string, string>> {
  return parameterTexts({
    ...filledOsparams(view.cluster, instance),
    ...filledPrivateOsparams(view.cluster, instance),
    ...secret,
  });
}

/** What every script of an instance's OS definition is given; which step it is, the caller says. */
export function osScriptRequest(
  view: ConfigView,
  instance: Instance,
  parameters: Readonly<Record<string, string>>,
  { debugLevel = 0 }: { readonly debugLevel?: number } = {},
): Omit<OsCreateRequest, "step"> {
  return {
    instance: instanceMessage(view, instance),
    os: instance.os,
    parameters: { ...parameters },
    reinstall: false,
    debugLevel,
    beparams: encodeParameters(filledBeparams(view.cluster, instance)),
    ctime: instance.ctime,
    mtime: instance.mtime,
    primaryNodeUuid: instance.primaryNode,
    secondaryNodeUuids: [...view.secondaryNodes(instance)],
  };
}
