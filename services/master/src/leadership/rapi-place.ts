/** Where the other masters reach this one's remote API. */
import type { ConfigView } from "@gannet/objects";
import type { MasterConfiguration } from "../configuration.ts";

const ANY_ADDRESS = new Set(["0.0.0.0", "::"]);

export interface Place {
  readonly host: string;
  readonly port: number;
}

export function rapiPlaceOf(
  {
    nodeName,
    rapi,
  }: Pick<MasterConfiguration, "nodeName"> & {
    readonly rapi: Pick<MasterConfiguration["rapi"], "advertisedAddress" | "host" | "port">;
  },
  view: Pick<ConfigView, "findNode">,
): Place {
  const listens = ANY_ADDRESS.has(rapi.host) ? undefined : rapi.host;
  const host = rapi.advertisedAddress ?? listens ?? view.findNode(nodeName)?.primaryIp ?? nodeName;
  return { host, port: rapi.port };
}
