/** The NIC by which a guest talks to its node: OP_INSTANCE_CREATE and OP_INSTANCE_SET_PARAMS with instance_communication. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1] = NODES;
const NAME = "web1.gnt.test";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  for (const { name } of bed.view.instances.values()) await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name });
});

const create = (more: Readonly<Record<string, unknown>> = {}) => ({
  ...{ instance_name: NAME, mode: "create", disk_template: "diskless", disks: [], nics: [{}], start: false },
  ...{ os_type: "noop", pnode: NODE1, hypervisor: "fake", ...more },
});
const communicates = (on: boolean) =>
  bed.succeed("OP_INSTANCE_SET_PARAMS", { instance_name: NAME, instance_communication: on, hotplug: false });

const nics = () =>
  bed.instance(NAME).nics.map(({ name, ip, mac, network }) => ({
    ...{ name, ip, mac: mac.slice(0, 8), network: network === null ? null : bed.view.networks.get(network)?.name },
  }));
const OWN = { name: null, ip: null, mac: "aa:00:00", network: null };
const COMMUNICATION = {
  name: `gnt:com:${NAME}`,
  ip: expect.stringMatching(/^169\.254\./),
  mac: "52:54:00",
  network: "talk",
};

test("is refused without a network for it", async () => {
  const { result } = await bed.run("OP_INSTANCE_CREATE", create({ instance_communication: true }));
  expect(result).toMatchObject([
    "OpPrereqError",
    [expect.stringContaining("instance_communication_network"), "wrong_state"],
  ]);
});

test("is made with the instance, behind its other NICs, and goes and comes by a change", async () => {
  await bed.succeed("OP_CLUSTER_SET_PARAMS", { instance_communication_network: "talk" });
  await bed.succeed("OP_INSTANCE_CREATE", create({ instance_communication: true }));
  expect(nics()).toEqual([OWN, COMMUNICATION]);
  await communicates(false);
  expect(nics()).toEqual([OWN]);
  await communicates(true);
  expect(nics()).toEqual([OWN, COMMUNICATION]);
  const before = bed.instance(NAME).nics;
  await communicates(true);
  expect(bed.instance(NAME).nics, "it is there already").toEqual(before);
});

test("is reserved with a forthcoming instance, and the same request commits it", async () => {
  await bed.succeed("OP_INSTANCE_CREATE", create({ instance_communication: true, forthcoming: true }));
  const reserved = bed.instance(NAME).nics;
  await bed.succeed("OP_INSTANCE_CREATE", create({ instance_communication: true, commit: true }));
  expect(bed.instance(NAME).nics).toEqual(reserved);
});

test("never has the address at which guests ask for their metadata", async () => {
  const [network] = bed.view.networks.values();
  const { result } = await bed.run(
    "OP_INSTANCE_CREATE",
    create({ nics: [{ network: network?.name, ip: "169.254.169.254" }] }),
  );
  expect(result).toMatchObject(["OpPrereqError", [expect.anything(), "resource_not_unique"]]);
});

test("its guest's node is told what the guest may read, and of no other NIC", async () => {
  const parameters = { osparams: { dhcp: "yes" }, osparams_private: { password: "whisper" } };
  const secret = { osparams_secret: { token: "once" } };
  await bed.succeed("OP_INSTANCE_CREATE", create({ instance_communication: true, ...parameters, ...secret }));
  bed.nodes.calls.length = 0;
  await bed.succeed("OP_INSTANCE_STARTUP", { instance_name: NAME });
  const started = bed.nodes.calls.find(({ method }) => method === "instances.start");
  const metadata = {
    ...{ uuid: bed.instance(NAME).uuid, os: "noop" },
    ...{ publicParameters: { dhcp: "yes" }, privateParameters: { password: "whisper" } },
  };
  expect(started?.request).toMatchObject({ instance: { nics: [{ metadata: undefined }, { metadata }] } });
  expect(JSON.stringify(started?.request)).not.toContain("once");
});

test("a NIC that only has such a name tells its guest nothing", async () => {
  const nics = [{ name: "gnt:com:other", ip: "169.254.0.9", mode: "routed", link: "100" }];
  await bed.succeed("OP_INSTANCE_CREATE", create({ nics, conflicts_check: false, start: true }));
  const started = bed.nodes.calls.findLast(({ method }) => method === "instances.start");
  expect(started?.request).toMatchObject({ instance: { nics: [{ ip: "169.254.0.9", metadata: undefined }] } });
});
