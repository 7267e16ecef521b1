/** Parameters that hold secrets. */

import { z } from "zod";
import { keyName, optional, parameters, parameterValue } from "./basic.ts";
import { fileName } from "./names.ts";

/** Parameters whose values nobody is shown: job queries and logs say `<redacted>` in their place. */
export const REDACTED_PARAMS: ReadonlySet<string> = new Set([
  "osparams_private",
  "osparams_private_cluster",
  "osparams_secret",
]);

export const osparamsPrivate = optional(
  z.record(keyName, parameterValue),
  "OS parameters that are stored but never shown.",
);
export const osparamsSecret = optional(
  z.record(keyName, parameterValue),
  "OS parameters for this once: neither stored nor shown.",
);
export const osparamsPrivateCluster = optional(
  z.record(fileName, parameters),
  "OS parameters of the whole cluster that are stored but never shown, by OS.",
);
