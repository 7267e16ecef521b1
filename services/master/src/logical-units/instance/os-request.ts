/** An instance as the scripts of its OS definition are told of it. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  filledBeparams,
  filledOsparams,
  filledPrivateOsparams,
  type Instance,
  type Node,
  type Parameters,
} from "@gannet/objects";
import { encodeParameters, type OsCreateRequest } from "@gannet/rpc";
import type { PrereqContext } from "../../executor/context.ts";
import { instanceMessage } from "./messages.ts";

/**
 * Public and private parameters with all that is inherited, as text, which is how they reach scripts.
 * @param secret - those of this one operation, which are kept nowhere
 */
export function osParameterTexts(
  view: ConfigView,
  instance: Pick<Instance, "os" | "osparams" | "osparamsPrivate">,
  secret: Parameters = {},
): Readonly<Record<string, string>> {
  const all = {
    ...filledOsparams(view.cluster, instance),
    ...filledPrivateOsparams(view.cluster, instance),
    ...secret,
  };
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, value === null ? "" : String(value)]));
}

/**
 * A definition whose only create script is untrusted belongs inside a guest, where nothing here can run it.
 * @throws OpPrereqError (wrong_input), before anything is made
 */
export function refuseUntrusted({ live }: Pick<PrereqContext, "live">, { uuid, name }: Node, os: string): void {
  const [definition] = os.split("+");
  const found = live.node(uuid).os.find((each) => each.name === definition);
  if (found === undefined || !found.valid || found.trusted) return;
  throw new OpPrereqError(
    `OS ${definition} of node ${name} has only an untrusted create script (create_untrusted), which belongs inside a ` +
      "guest and is not run here: leave the installation out (no_install), or take a definition with a create script",
    "wrong_input",
  );
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
