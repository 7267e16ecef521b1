/** What is found wrong with a node, over the agent's real server. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { BlockDeviceError, HypervisorError } from "@gannet/errors";
import type { VerifyNodeRequest } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { AGENT_VERSION } from "../../src/agent-version.ts";
import { SiteAllocators } from "../../src/allocators/site-allocators.ts";
import { RootSpaces } from "../../src/block-devices/file/root-space.ts";
import { NodeVerification } from "../../src/node-facts/node-verification.ts";
import {
  createTestCluster,
  OWN_USER,
  runner,
  startTestAgent,
  type TestAgent,
  type TestCluster,
} from "../agent-fixture.ts";

const NOTHING: VerifyNodeRequest = {
  files: [],
  executables: [],
  bridges: [],
  fileStorage: [],
  masterAddressScript: false,
  allocators: [],
};

let cluster: TestCluster;
let folder: string;
let agent: TestAgent;
let spaces: RootSpaces;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-verify-"));
  const fileStorage = {
    file: { allowed: { roots: [inside("root"), "/etc/disks"], ownFolder: folder } },
    gluster: { allowed: { roots: [inside("gluster")], ownFolder: folder }, isMadeWhenUsed: true },
    sharedfile: { allowed: { roots: [inside("below/srv")], ownFolder: folder }, below: inside("below") },
  };
  spaces = new RootSpaces({ runner, lockFolder: inside("locks") });
  agent = await startTestAgent(cluster, {
    leadersFolder: inside("leaders"),
    verification: (hypervisors) =>
      new NodeVerification({
        hypervisors,
        fileStorage,
        spaces,
        networkTools: { ovsVsctl: inside("ovs-vsctl") },
        runner,
        allocators: new SiteAllocators({ searchPath: [inside("allocators")], stateDir: folder, runner }),
        certificates: [path.join(cluster.nodePkiDir, "cert.pem"), inside("no.pem")],
        siteFiles: { site: inside("site"), absent: inside("absent") },
        masterAddressScript: inside("master-ip-setup"),
        owner: OWN_USER,
      }),
  });
});
afterEach(async () => {
  await agent.stop();
  await rm(folder, { recursive: true });
});

const inside = (name: string) => path.join(folder, name);
const verify = (request: Partial<VerifyNodeRequest>) => agent.client.node.verify({ ...NOTHING, ...request });

async function script(name: string, text: string): Promise<string> {
  await writeFile(inside(name), `#!/bin/sh\n${text}\n`);
  await chmod(inside(name), 0o755);
  return inside(name);
}

it("a node with which nothing is wrong has no problems, and tells its clock", async () => {
  const before = Date.now();
  const reply = await verify({});
  expect(reply).toMatchObject({ problems: [], digests: [], agentVersion: AGENT_VERSION });
  expect(reply.clockMs).toBeGreaterThanOrEqual(before);
  expect(reply.clockMs).toBeLessThanOrEqual(Date.now());
});

it("files are answered with their digests, and told of when they cannot be", async () => {
  await writeFile(inside("known_hosts"), "node1 ssh-ed25519 AAAA\n");
  await symlink(inside("known_hosts"), inside("link"));
  await writeFile(inside("large"), "");
  await truncate(inside("large"), 17 * 1024 * 1024);
  await promisify(execFile)("mkfifo", [inside("fifo")]);
  const files = ["known_hosts", "link", "missing", "large", "fifo", "."].map((name) => path.join(folder, name));
  const { digests, problems } = await verify({ files });
  const sha256 = createHash("sha256").update("node1 ssh-ed25519 AAAA\n").digest("hex");
  expect(digests).toEqual(files.slice(0, 2).map((file) => ({ path: file, sha256 })));
  expect(problems).toEqual([
    { check: "file", item: files[3], problem: expect.stringMatching(/17825792 bytes/) },
    { check: "file", item: files[4], problem: "it is no regular file" },
    { check: "file", item: files[5], problem: "it is no regular file" },
  ]);
});

it("tells how long its certificates are valid, and the digests of the site's files", async () => {
  await writeFile(inside("site"), "text");
  const { certificates, siteFiles } = await verify({});
  const [own, missing] = certificates;
  expect(own).toMatchObject({ path: path.join(cluster.nodePkiDir, "cert.pem"), problem: "" });
  expect((own?.notAfterMs ?? 0) - Date.now()).toBeGreaterThan(365 * 24 * 60 * 60 * 1000);
  expect(own?.notBeforeMs).toBeLessThanOrEqual(Date.now());
  expect(missing).toEqual({
    ...{ path: inside("no.pem"), notBeforeMs: 0, notAfterMs: 0 },
    problem: expect.stringMatching(/ENOENT/),
  });
  const sha256 = createHash("sha256").update("text").digest("hex");
  expect(siteFiles).toEqual([
    { path: "site", sha256 },
    { path: "absent", sha256: "" },
  ]);
});

it("the site's script for the cluster's address must be trusted, where it is used", async () => {
  expect((await verify({})).problems).toEqual([]);
  const { problems } = await verify({ masterAddressScript: true });
  expect(problems).toEqual([
    { check: "user-script", item: inside("master-ip-setup"), problem: expect.stringMatching(/ENOENT/) },
  ]);
  await script("master-ip-setup", "");
  expect((await verify({ masterAddressScript: true })).problems).toEqual([]);
});

it("allocators are programs of the site", async () => {
  await mkdir(inside("allocators"));
  await script("allocators/ours", "");
  const { problems } = await verify({ allocators: ["ours", "theirs", "../ours"] });
  expect(problems).toEqual([
    { check: "allocator", item: "theirs", problem: expect.stringMatching(/There is no allocator theirs/) },
    { check: "allocator", item: "../ours", problem: expect.stringMatching(/cannot be an allocator's name/) },
  ]);
});

it("scripts must be there and executable", async () => {
  const good = await script("good", "");
  await writeFile(inside("plain"), "");
  const { problems } = await verify({ executables: [good, inside("plain"), inside("missing"), folder] });
  expect(problems).toEqual([
    { check: "executable", item: inside("plain"), problem: "it may not be executed" },
    { check: "executable", item: inside("missing"), problem: expect.stringMatching(/ENOENT/) },
    { check: "executable", item: folder, problem: "it is no regular file" },
  ]);
});

describe("bridges", () => {
  it("that are not there are told of, without Open vSwitch too", async () => {
    const { problems } = await verify({ bridges: ["gannet-none"] });
    expect(problems).toEqual([
      { check: "bridge", item: "gannet-none", problem: "there is no such bridge on this node" },
    ]);
  });

  it("may be Open vSwitch's, which is asked for nothing but names of interfaces", async () => {
    await script("ovs-vsctl", `echo "$@" >> ${inside("calls")}; test "$3" = switch1 || exit 2`);
    const { problems } = await verify({ bridges: ["switch1", "switch2", "--db=tcp:evil", "../x"] });
    expect(problems.map(({ item }) => item)).toEqual(["switch2", "--db=tcp:evil", "../x"]);
    expect((await readFile(inside("calls"), "utf8")).split("\n").sort()).toEqual([
      ...["", "--timeout=5 br-exists switch1", "--timeout=5 br-exists switch2"],
    ]);
  });
});

it("folders for files of disks must be allowed on this node, and be there", async () => {
  await mkdir(inside("root/cluster"), { recursive: true });
  await mkdir(inside("below/srv/shared"), { recursive: true });
  await writeFile(inside("root/file"), "");
  const wrong: [string, string, RegExp][] = [
    ["file", inside("root/missing"), /ENOENT/],
    ["file", inside("root/file"), /not a folder/],
    ["file", inside("elsewhere"), /not below an allowed folder/],
    ["file", "/etc/disks", /never allowed/],
    ["sharedfile", "/srv/missing", /ENOENT/],
    ["rbd", "/srv/rbd", /keeps no files of disk template rbd/],
    ["constructor", "/srv", /keeps no files/],
  ];
  const right = [
    { template: "file", path: inside("root") },
    { template: "file", path: inside("root/cluster") },
    { template: "sharedfile", path: "/srv/shared" },
  ];
  const { problems } = await verify({
    fileStorage: [...right, ...wrong.map(([template, where]) => ({ template, path: where }))],
  });
  expect(problems).toEqual([
    ...wrong.map(([, item, problem]) => ({ check: "file-storage", item, problem: expect.stringMatching(problem) })),
    { check: "file-storage-root", item: "/etc/disks", problem: "it is never allowed" },
  ]);
});

it("a folder for files of disks that hangs is told of", async () => {
  vi.spyOn(spaces, "read").mockRejectedValue(new BlockDeviceError("it does not answer"));
  const { problems } = await verify({ fileStorage: [{ template: "file", path: inside("root/cluster") }] });
  expect(problems.filter(({ check }) => check === "file-storage")).toEqual(
    ["root/cluster", "root"].map((name) => ({
      check: "file-storage",
      item: inside(name),
      problem: "it does not answer",
    })),
  );
});

it("an allowed folder that is missing is told of, whether the cluster's own is below it or not", async () => {
  const fileStorage = [{ template: "sharedfile", path: "/srv/shared" }];
  await mkdir(inside("below/srv/shared"), { recursive: true });
  expect((await verify({ fileStorage })).problems).toEqual([]);
  await rm(inside("below"), { recursive: true });
  const missing = { check: "file-storage", problem: expect.stringMatching(/does not exist/) };
  expect((await verify({ fileStorage })).problems).toEqual([
    { ...missing, item: "/srv/shared" },
    { ...missing, item: inside("below/srv") },
  ]);
});

it("a Gluster folder is made when it is used, and may be missing until then", async () => {
  const fileStorage = [{ template: "gluster", path: inside("gluster") }];
  expect((await verify({ fileStorage })).problems).toEqual([]);
  await writeFile(inside("gluster"), "");
  expect((await verify({ fileStorage })).problems).toEqual([
    { check: "file-storage", item: inside("gluster"), problem: "it is not a folder" },
  ]);
});

it("hypervisors that cannot be used say why", async () => {
  agent.hypervisor.describe.mockRejectedValueOnce(new HypervisorError("no qemu here"));
  expect((await verify({})).problems).toEqual([{ check: "hypervisor", item: "fake", problem: "no qemu here" }]);
});

it.each<[string, Partial<VerifyNodeRequest>]>([
  ["a relative path", { files: ["etc/hosts"] }],
  ["a NUL", { executables: ["/bin/sh\0"] }],
  ["a path of 10 KB", { files: [`/${"x".repeat(10_240)}`] }],
  ["too many", { bridges: Array.from({ length: 1_001 }, (_, index) => `br${index}`) }],
  ["a folder that is relative", { fileStorage: [{ template: "file", path: "srv" }] }],
])("%s is refused", async (_what, request) => {
  await expect(verify(request)).rejects.toMatchObject({ name: "OpPrereqError", code: "wrong_input" });
});
