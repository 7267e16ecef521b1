/** Fields of OS definitions. */
import type { Field } from "../field.ts";
import { stored } from "../field.ts";
import type { OsContext } from "../os-rows.ts";

/** Fields that come from what nodes report are marked as stored, as in Ganeti: they are joined beforehand. */
export const OS_FIELDS: readonly Field<OsContext>[] = [
  stored("name", "Name", "text", "Name of the definition", ({ name }) => name),
  stored("valid", "Valid", "bool", "Whether it can be used on every node", ({ valid }) => valid),
  stored("hidden", "Hidden", "bool", "Whether lists leave it out", ({ hidden }) => hidden),
  stored(
    "blacklisted",
    "Blacklisted",
    "bool",
    "Whether new instances may not use it",
    ({ blacklisted }) => blacklisted,
  ),
  stored("variants", "Variants", "other", "Variants that all nodes know", ({ variants }) => variants),
  stored(
    "api_versions",
    "ApiVersions",
    "other",
    "Versions of the OS interface that all nodes have",
    ({ apiVersions }) => apiVersions,
  ),
  stored(
    "parameters",
    "Parameters",
    "other",
    "Parameters that all nodes know, with their help",
    ({ parameters }) => parameters,
  ),
  stored("node_status", "NodeStatus", "other", "What was found on each node", ({ nodeStatus }) => nodeStatus),
  stored("os_hvp", "OsHypervisorParams", "other", "Hypervisor parameters of its instances", ({ hvparams }) => hvparams),
  stored("osparams", "OsParameters", "other", "OS parameters of its instances", ({ osparams }) => osparams),
  stored("trusted", "Trusted", "bool", "Whether its scripts run on the node itself", ({ trusted }) => trusted),
];
