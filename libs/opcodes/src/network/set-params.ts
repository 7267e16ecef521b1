import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const NetworkSetParams = defineOpcode({
  id: "OP_NETWORK_SET_PARAMS",
  doc: "Change a network.",
  params: {
    network_name: p.networkName,
    gateway: p.optional(p.ipv4OrNone, "The IPv4 gateway, or `none`."),
    network6: p.optional(p.ipv6NetOrNone, "The IPv6 network, or `none`."),
    gateway6: p.optional(p.ipv6OrNone, "The IPv6 gateway, or `none`."),
    mac_prefix: p.optional(p.macPrefix, "First three bytes of MAC addresses in the network."),
    add_reserved_ips: p.optionalList(p.ipv4, "Addresses to reserve."),
    remove_reserved_ips: p.optionalList(p.ipv4, "Addresses to free."),
  },
  result: r.nothing,
  summary: "network_name",
  rapi: [put("/2/networks/:network_name/modify")],
  cli: command("network modify", { args: ["network_name"] }),
});
