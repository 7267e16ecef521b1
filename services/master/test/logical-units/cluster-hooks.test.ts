/** What hooks are told of operations on the cluster, its groups and networks, and where they run. */
import type { RunHooksRequest } from "@gannet/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

interface Row {
  readonly id: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly path: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly pre: readonly string[];
  readonly post: readonly string[];
}

const MASTER = { pre: [NODE1], post: [NODE1] };
const ALL = { pre: NODES, post: NODES };
const LAN = { network_name: "lan" };
const CONNECTION = {
  GANETI_GROUP_NAME: "default",
  GANETI_GROUP_NETWORK_MODE: "bridged",
  GANETI_GROUP_NETWORK_LINK: "br0",
};

/** In an order in which each can be done. */
const ROWS: readonly Row[] = [
  {
    ...{ id: "OP_CLUSTER_SET_PARAMS", params: { vg_name: "fast" }, path: "cluster-modify", ...MASTER },
    environment: { GANETI_OP_TARGET: "cluster.gnt.test", GANETI_NEW_VG_NAME: "fast" },
  },
  {
    ...{
      id: "OP_CLUSTER_RENAME",
      params: { name: "other.invalid" },
      path: "cluster-rename",
      pre: [NODE1],
      post: NODES,
    },
    environment: { GANETI_OP_TARGET: "cluster.gnt.test", GANETI_NEW_NAME: "other.invalid" },
  },
  { id: "OP_CLUSTER_POST_INIT", params: {}, path: "cluster-init", environment: {}, pre: [], post: [NODE1] },
  {
    ...{
      id: "OP_CLUSTER_VERIFY_GROUP",
      params: { group_name: "default" },
      path: "cluster-verify",
      pre: [],
      post: NODES,
    },
    environment: { GANETI_CLUSTER_TAGS: "", [`GANETI_NODE_TAGS_${NODE2}`]: "" },
  },
  {
    ...{ id: "OP_GROUP_ADD", params: { group_name: "g2" }, path: "group-add", ...MASTER },
    environment: { GANETI_GROUP_NAME: "g2" },
  },
  {
    ...{ id: "OP_GROUP_SET_PARAMS", params: { group_name: "g2", alloc_policy: "last_resort" }, path: "group-modify" },
    ...{ environment: { GANETI_GROUP_NAME: "g2", GANETI_NEW_ALLOC_POLICY: "last_resort" }, ...MASTER },
  },
  {
    ...{ id: "OP_GROUP_RENAME", params: { group_name: "g2", new_name: "g3" }, path: "group-rename", ...MASTER },
    environment: { GANETI_OLD_NAME: "g2", GANETI_NEW_NAME: "g3" },
  },
  {
    ...{ id: "OP_GROUP_REMOVE", params: { group_name: "g3" }, path: "group-remove", ...MASTER },
    environment: { GANETI_GROUP_NAME: "g3" },
  },
  {
    ...{ id: "OP_NETWORK_ADD", params: { ...LAN, network: "203.0.113.0/24", tags: ["a"] }, path: "network-add" },
    ...MASTER,
    environment: { GANETI_NETWORK_NAME: "lan", GANETI_NETWORK_SUBNET: "203.0.113.0/24", GANETI_NETWORK_TAGS: "a" },
  },
  {
    ...{ id: "OP_NETWORK_SET_PARAMS", params: { ...LAN, gateway: "203.0.113.1" }, path: "network-modify", ...MASTER },
    environment: { GANETI_NETWORK_NAME: "lan", GANETI_NETWORK_GATEWAY: "" },
  },
  {
    id: "OP_NETWORK_CONNECT",
    params: { ...LAN, group_name: "default", network_mode: "bridged", network_link: "br0" },
    ...{ path: "network-connect", environment: CONNECTION, ...ALL },
  },
  {
    ...{ id: "OP_NETWORK_RENAME", params: { ...LAN, new_name: "dmz" }, path: "network-rename", ...ALL },
    environment: { GANETI_OLD_NAME: "lan", GANETI_NEW_NAME: "dmz" },
  },
  {
    ...{ id: "OP_NETWORK_DISCONNECT", params: { network_name: "dmz", group_name: "default" } },
    ...{ path: "network-disconnect", environment: CONNECTION, ...ALL },
  },
  {
    ...{ id: "OP_NETWORK_REMOVE", params: { network_name: "dmz" }, path: "network-remove", ...MASTER },
    environment: { GANETI_NETWORK_NAME: "dmz" },
  },
];

test.each(ROWS)("$id", async ({ id, params, path, environment, pre, post }) => {
  bed.nodes.calls.length = 0;
  await bed.succeed(id, params);
  const asked = bed.nodes.calls
    .filter(({ method }) => method === "node.runHooks")
    .map(({ node, request }) => ({ node, ...(request as RunHooksRequest) }))
    .filter((each) => each.path === path);
  const on = (phase: string) => asked.filter((each) => each.phase === phase).map(({ node }) => node);
  expect(on("pre").sort()).toEqual([...pre].sort());
  expect(on("post").sort()).toEqual([...post].sort());
  expect(asked[0]?.environment).toMatchObject(environment);
});

test("a hook's refusal keeps a change from being made", async () => {
  bed.nodes.named(NODE3).hooks = ({ phase }) =>
    phase === "pre" ? [{ script: "network-connect-pre.d/no", status: "fail", output: "no bridge here" }] : [];
  await bed.succeed("OP_NETWORK_ADD", { network_name: "late", network: "198.18.0.0/24" });
  const { result } = await bed.run("OP_NETWORK_CONNECT", {
    ...{ network_name: "late", group_name: "default", network_mode: "bridged", network_link: "br0" },
  });
  expect(result).toEqual(["HooksAbort", [[[NODE3, "network-connect-pre.d/no", "no bridge here"]]]]);
  expect(Object.keys(bed.view.findGroup("default")?.networks ?? {})).toEqual([]);
});
