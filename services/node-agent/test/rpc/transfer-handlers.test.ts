import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import type { StartExportRequest, StartImportRequest, TransferEnd, TransferOptions } from "@gannet/rpc";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  createTestCluster,
  disk,
  instance,
  startTestAgent,
  step,
  type TestAgent,
  type TestCluster,
} from "../agent-fixture.ts";
import { all, INSTANCE, type TransferFixture, transferFixture } from "../transfers/transfer-fixture.ts";

let cluster: TestCluster;
let nodes: TransferFixture;
let agent: TestAgent;
beforeAll(async () => {
  cluster = await createTestCluster();
  nodes = await transferFixture();
  agent = await startTestAgent(cluster, {
    leadersFolder: path.join(cluster.root, "leaders"),
    transfers: nodes.target.transfers,
  });
});
afterAll(async () => {
  await agent.stop();
  await nodes.close();
  await cluster.remove();
});

const options: TransferOptions = {
  compress: "gzip-fast",
  magic: "over-grpc",
  ipv6: false,
  connectTimeoutSeconds: 20,
  keyName: "",
  peerCertificatePem: "",
};
const diskEnd = (file: string, uuid = "aaaaaaaa-0000-4000-8000-000000000000"): TransferEnd => ({
  end: { $case: "disk", value: { device: disk({ uuid, sizeMib: 2, logicalId: ["loop", file] }) } },
});
const fileEnd = (instanceName = INSTANCE, file = "disk-uuid"): TransferEnd => ({
  end: { $case: "file", value: { instanceName, file } },
});
const importRequest = (changes: Partial<StartImportRequest>): StartImportRequest => ({
  ...{ step: step(), options, instanceName: INSTANCE, component: "disk0", target: undefined, address: "127.0.0.1" },
  ...changes,
});
const exportRequest = (changes: Partial<StartExportRequest>): StartExportRequest => ({
  ...{ step: step(), options, instanceName: INSTANCE, component: "disk0", source: undefined, host: "127.0.0.1" },
  ...{ port: 1, ...changes },
});

/** Both ends on the one agent. */
async function transfer(source: TransferEnd, target: TransferEnd) {
  const { transfers } = agent.client;
  const imported = await transfers.startImport(importRequest({ target }));
  const [first] = await takeOne(transfers.follow({ names: [imported.name] }));
  const exported = await transfers.startExport(exportRequest({ source, port: first?.listenPort ?? 0 }));
  const names = [imported.name, exported.name];
  const states = (await all(transfers.follow({ names }))).map((each) => each.transfers);
  return { names, states };
}
async function takeOne(stream: AsyncIterable<{ transfers: readonly { listenPort: number }[] }>) {
  for await (const { transfers } of stream) return transfers;
  return [];
}

describe("over mutual TLS", () => {
  test("a disk goes to another, followed until both ends are over, and is forgotten when it was ended", async () => {
    const [from, to] = [await nodes.disk("from", 2), await nodes.disk("to", 2, "empty")];
    const { names, states } = await transfer(diskEnd(from), diskEnd(to, "bbbbbbbb-0000-4000-8000-000000000000"));
    for (const state of states.at(-1) ?? [])
      expect(state).toMatchObject({ over: true, problem: "", transferredMib: 2, percent: 100, connected: true });
    expect((await readFile(to)).equals(await readFile(from))).toBe(true);
    const request = { step: step(), names };
    await agent.client.transfers.end(request);
    await agent.client.transfers.end(request);
    await expect(all(agent.client.transfers.follow({ names }))).rejects.toMatchObject({ code: "unknown_entity" });
  });

  test("an export is received, put into its place, described, listed, read and removed", async () => {
    const { transfers } = agent.client;
    const [from, to] = [await nodes.disk("from", 2), await nodes.disk("to", 2, "empty")];
    expect((await transfer(diskEnd(from), fileEnd())).states.at(-1)).toMatchObject([{ problem: "" }, { problem: "" }]);
    const description = `[export]\nversion = 0\n[instance]\nname = ${INSTANCE}\n`;
    await transfers.finalizeExport({ step: step(), instanceName: INSTANCE, description });
    expect(await transfers.listExports({})).toEqual({ instanceNames: [INSTANCE] });
    expect(await transfers.exportInfo({ export: INSTANCE })).toEqual({ description });
    const back = await transfer(fileEnd(path.join(nodes.target.exportDir, INSTANCE)), diskEnd(to));
    expect(back.states.at(-1)).toMatchObject([{ problem: "" }, { problem: "" }]);
    expect((await readFile(to)).equals(await readFile(from))).toBe(true);
    await transfers.removeExport({ step: step(), export: INSTANCE, unfinishedOnly: false });
    await expect(transfers.exportInfo({ export: INSTANCE })).rejects.toMatchObject({ code: "unknown_entity" });
  });

  test("a repeated step starts nothing a second time, and makes no second key", async () => {
    const { transfers } = agent.client;
    const to = await nodes.disk("to", 2, "empty");
    const request = importRequest({ target: diskEnd(to) });
    const [first, second] = [await transfers.startImport(request), await transfers.startImport(request)];
    expect(second).toEqual(first);
    await transfers.end({ step: step(), names: [first.name] });
    const asked = { step: step(), validitySeconds: 600 };
    const key = await transfers.createCertificate(asked);
    expect(await transfers.createCertificate(asked)).toEqual(key);
    expect(key.certificatePem).toMatch(/^-----BEGIN CERTIFICATE-----/);
    await transfers.removeCertificate({ step: step(), name: key.name });
    expect(await readdir(path.join(nodes.target.stateDir, "transfer-keys"))).toEqual([]);
  });

  test("a script gets the instance with all of its disks attached, and the one it is to work on", async () => {
    const device = disk({ uuid: "cccccccc-0000-4000-8000-000000000000", logicalId: ["loop", "/srv/snapshot"] });
    const value = {
      instance: {
        ...{ step: undefined, instance: instance(), os: "nowhere", parameters: {}, reinstall: false, debugLevel: 0 },
        ...{ beparams: {}, ctime: 0, mtime: 0, primaryNodeUuid: "", secondaryNodeUuids: [] },
      },
      ...{ device, index: 0 },
    };
    const asked = importRequest({ target: { end: { $case: "script", value } } });
    await expect(agent.client.transfers.startImport(asked)).rejects.toThrow(/OS nowhere was not found on this node/);
    const assembled = agent.disks.assemble.mock.calls.map(([each]) => each.logicalId[1]);
    expect(assembled.slice(-2)).toEqual(["/srv/ganeti/file-storage/web1/disk0", "/srv/snapshot"]);
  });
});

describe("is refused", () => {
  const target = diskEnd("/srv/ganeti/file-storage/web1/disk0");
  test.each<[string, Partial<StartImportRequest>]>([
    ["an import to nowhere", { target: undefined }],
    ["an import at a name", { target, address: "localhost" }],
    ["an import at options of socat", { target, address: "127.0.0.1,fork" }],
    ["a component that is a path", { target, component: "../../etc" }],
    ["an instance that is a path", { target, instanceName: "../../etc" }],
    ["a disk without a UUID", { target: { end: { $case: "disk", value: { device: disk({ uuid: "x" }) } } } }],
    ["no options", { target, options: undefined }],
    ["no patience", { target, options: { ...options, connectTimeoutSeconds: 0 } }],
    ["a huge certificate", { target, options: { ...options, peerCertificatePem: "x".repeat(100_000) } }],
    ["a file outside its export", { target: fileEnd(INSTANCE, "../../etc/passwd") }],
    ["an export outside its folder", { target: fileEnd("../..") }],
  ])("%s", async (_what, changes) => {
    await expect(agent.client.transfers.startImport(importRequest(changes))).rejects.toThrow(OpPrereqError);
    expect(await readdir(path.join(nodes.target.stateDir, "transfers"))).toEqual([]);
  });

  test.each([
    ["options of socat for a host", { host: "127.0.0.1,exec=id" }],
    ["port 0", { host: "127.0.0.1", port: 0 }],
    ["a port beyond", { host: "127.0.0.1", port: 70_000 }],
  ])("an export to %s", async (_what, changes) => {
    const asked = exportRequest({ source: target, ...changes });
    await expect(agent.client.transfers.startExport(asked)).rejects.toThrow(OpPrereqError);
  });

  test("exports elsewhere, and certificates of other names and times", async () => {
    const { transfers } = agent.client;
    const outside = path.join(nodes.base, "outside.ini");
    await writeFile(outside, "");
    for (const name of ["", "..", "/etc", outside, "x".repeat(10_000)]) {
      await expect(transfers.exportInfo({ export: name })).rejects.toThrow();
      await expect(transfers.removeExport({ step: step(), export: name, unfinishedOnly: false })).rejects.toThrow();
    }
    expect(await readFile(outside, "utf8")).toBe("");
    await expect(transfers.removeCertificate({ step: step(), name: "../pki" })).rejects.toThrow(OpPrereqError);
    for (const validitySeconds of [0, 8 * 24 * 60 * 60])
      await expect(transfers.createCertificate({ step: step(), validitySeconds })).rejects.toThrow(OpPrereqError);
  });
});
