/** What becomes of a hosts file, over the agent's real server. */
import { chmod, lstat, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { withHosts } from "../../src/hosts-file/hosts-lines.ts";
import { createTestCluster, startTestAgent, step, type TestAgent, type TestCluster } from "../agent-fixture.ts";

const NODE1 = { address: "192.0.2.1", name: "node1.gnt.test" };
const NODE2 = { address: "192.0.2.2", name: "node2.gnt.test" };
const SITE = "127.0.0.1\tlocalhost\n# by hand\n192.0.2.9  db.site.test db # gannet knows nothing of it\n";

let cluster: TestCluster;
let folder: string;
let agent: TestAgent;
let file: string;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-hosts-"));
  const leadersFolder = path.join(folder, "leaders");
  agent = await startTestAgent(cluster, { leadersFolder });
  file = path.join(leadersFolder, "hosts");
});
afterEach(async () => {
  await agent.stop();
  await rm(folder, { recursive: true });
});

const set = (...hosts: readonly { readonly address: string; readonly name: string }[]) =>
  agent.client.node.setHosts({ step: step(), hosts: [...hosts] });
const text = () => readFile(file, "utf8");

it("names the cluster's hosts, and no longer those that it has left", async () => {
  await writeFile(file, SITE);
  await chmod(file, 0o664);
  await set(NODE1, NODE2);
  expect(await text()).toBe(
    `${SITE}192.0.2.1\tnode1.gnt.test node1\t# gannet\n192.0.2.2\tnode2.gnt.test node2\t# gannet\n`,
  );
  expect((await stat(file)).mode & 0o777).toBe(0o664);
  await set(NODE2);
  expect(await text()).toBe(`${SITE}192.0.2.2\tnode2.gnt.test node2\t# gannet\n`);
  await set();
  expect(await text()).toBe(SITE);
  expect(await readdir(path.dirname(file))).not.toContain("hosts.next");
});

it("does not touch a file in which nothing changes", async () => {
  await writeFile(file, SITE);
  await set(NODE1);
  const { ino } = await stat(file);
  await set(NODE1);
  expect((await stat(file)).ino).toBe(ino);
});

it("adds no second line for a host that is there, and tells of one that has another address", async () => {
  const line = "192.0.2.1 NODE1.gnt.test # by hand\n192.0.2.7 node2.gnt.test";
  await writeFile(file, line);
  expect(await set(NODE1, NODE2)).toEqual({ contradicted: [NODE2.name] });
  expect(await text()).toBe(`${line}\n192.0.2.2\tnode2.gnt.test node2\t# gannet\n`);
});

it("makes the file where there is none, and writes through a link", async () => {
  await set(NODE1);
  expect((await stat(file)).mode & 0o777).toBe(0o644);
  await rm(file);
  const real = path.join(folder, "real-hosts");
  await writeFile(real, "");
  await symlink(real, file);
  await set(NODE2);
  expect((await lstat(file)).isSymbolicLink()).toBe(true);
  expect(await readFile(real, "utf8")).toContain("node2.gnt.test");
});

it("refuses what is no address or no name, and says which file it cannot change", async () => {
  await expect(set({ ...NODE1, address: "node1" })).rejects.toMatchObject({ code: "wrong_input" });
  await expect(set({ ...NODE1, name: "a b" })).rejects.toMatchObject({ code: "wrong_input" });
  await rm(file, { force: true });
  await symlink("/proc/self/status", file);
  await expect(set(NODE1)).rejects.toThrow(file);
});

it("keeps every other line in its place, whatever it is, and comes to the same end by any way", () => {
  const line = fc.oneof(fc.string({ unit: "binary-ascii" }), fc.constant("10.0.0.1 a.test # gannet"), fc.constant(""));
  const hosts = fc.subarray([NODE1, NODE2, { address: "2001:db8::3", name: "node3" }]);
  fc.assert(
    fc.property(fc.array(line), hosts, hosts, (lines, before, after) => {
      const original = lines.filter((each) => !each.includes("\n")).join("\n");
      const isOther = (each: string) => !each.trimEnd().endsWith("# gannet");
      const once = withHosts(original, after).text;
      const twice = withHosts(withHosts(original, before).text, after).text;
      expect(once.trimEnd()).toBe(twice.trimEnd());
      expect(withHosts(once, after).text).toBe(once);
      expect(once.split("\n").filter(isOther).join("\n").trimEnd()).toBe(
        original.split("\n").filter(isOther).join("\n").trimEnd(),
      );
    }),
    { numRuns: 200 },
  );
});
