import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import type { OsCreateRequest } from "@gannet/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  createTestCluster,
  disk,
  instance,
  startTestAgent,
  step,
  type TestAgent,
  type TestCluster,
} from "../agent-fixture.ts";

let cluster: TestCluster;
let agent: TestAgent;
beforeAll(async () => {
  cluster = await createTestCluster();
  agent = await startTestAgent(cluster, { leadersFolder: path.join(cluster.root, "leaders") });
});
afterAll(async () => {
  await agent.stop();
  await cluster.remove();
});

const request = (changes: Partial<OsCreateRequest> = {}): OsCreateRequest => ({
  ...{ step: step(), instance: instance({ disks: [disk({ name: "root" })] }), os: "debian+trixie" },
  ...{ parameters: { token: "x" }, reinstall: false, debugLevel: 1, ctime: 1.5, mtime: 2 },
  ...{ beparams: { vcpus: { value: { $case: "integer", value: 2 } } } },
  ...{ primaryNodeUuid: "a", secondaryNodeUuids: ["b"], ...changes },
});

test("a rename gets the instance as a create would, its disks attached, and the old name", async () => {
  await agent.client.os.rename({ instance: request(), oldName: "old.gannet.test" });
  const [renamed, oldName] = agent.os.rename.mock.calls[0] ?? [];
  expect(oldName).toBe("old.gannet.test");
  expect(renamed).toMatchObject({
    ...{ os: "debian+trixie", parameters: { token: "x" }, debugLevel: 1, ctime: 1.5, mtime: 2 },
    ...{ beparams: { vcpus: 2 }, primaryNode: "a", secondaryNodes: ["b"] },
    guest: { name: "web1.gannet.test", disks: [{ name: "root", path: "/srv/ganeti/file-storage/web1/disk0" }] },
  });
});

test("a repeated rename runs the script once", async () => {
  agent.os.rename.mockClear();
  const asked = { instance: request(), oldName: "old.gannet.test" };
  await agent.client.os.rename(asked);
  await agent.client.os.rename(asked);
  expect(agent.os.rename).toHaveBeenCalledTimes(1);
});

test.each([
  ["no instance", { instance: undefined, oldName: "old.gannet.test" }],
  ["an old name that is a path", { instance: request(), oldName: "../../etc" }],
  ["no step", { instance: request({ step: undefined }), oldName: "old.gannet.test" }],
])("a rename with %s is refused", async (_what, asked) => {
  agent.os.rename.mockClear();
  await expect(agent.client.os.rename(asked)).rejects.toThrow(OpPrereqError);
  expect(agent.os.rename).not.toHaveBeenCalled();
});

test("an installation disk is written as a step, with the instance's disks attached, and read by its own path", async () => {
  const device = disk({ sizeMib: 16, index: 2, logicalId: ["loop", "/srv/ganeti/file-storage/web1/disk2"] });
  const asked = { instance: request({ step: step() }), device };
  await agent.client.os.prepareInstallation(asked);
  await agent.client.os.prepareInstallation(asked);
  expect(agent.os.prepareInstallation).toHaveBeenCalledTimes(1);
  const [written, place] = agent.os.prepareInstallation.mock.calls[0] ?? [];
  expect(written).toMatchObject({ guest: { disks: [{ path: "/srv/ganeti/file-storage/web1/disk0" }] } });
  expect(place).toEqual({ path: "/srv/ganeti/file-storage/web1/disk2", sizeMib: 16 });
  await agent.client.os.finishInstallation(asked);
  expect(agent.os.finishInstallation.mock.calls).toEqual([
    [
      { os: "debian+trixie", parameters: { token: "x" } },
      expect.objectContaining({ path: "/srv/ganeti/file-storage/web1/disk2" }),
    ],
  ]);
});

test.each([
  ["no disk", { instance: request(), device: undefined }],
  ["no step", { instance: request({ step: undefined }), device: disk() }],
])("an installation disk's writing with %s is refused", async (_what, asked) => {
  agent.os.prepareInstallation.mockClear();
  await expect(agent.client.os.prepareInstallation(asked)).rejects.toThrow(OpPrereqError);
  expect(agent.os.prepareInstallation).not.toHaveBeenCalled();
});
