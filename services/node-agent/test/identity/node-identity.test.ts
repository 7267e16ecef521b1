/** How a leader changes what a node shows and trusts, over real calls, and what is left of it after a restart. */
import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { OpPrereqError, StaleEpoch } from "@gannet/errors";
import { createCa, createSigningRequest, findCa, revocationList, signRequest } from "@gannet/pki";
import { afterEach, beforeEach, expect, test } from "vitest";
import { keepLeaders, takeStateFolder } from "../../src/state-folder.ts";
import { createTestCluster, NODE, startTestAgent, type TestAgent, type TestCluster } from "../agent-fixture.ts";

let cluster: TestCluster;
let agent: TestAgent;
const leaders = () => path.join(cluster.root, "leaders");

beforeEach(async () => {
  cluster = await createTestCluster();
  agent = await startTestAgent(cluster, { leadersFolder: leaders() });
});
afterEach(async () => {
  await agent.stop();
  await cluster.remove();
});

async function restart(): Promise<void> {
  await agent.stop();
  agent = await startTestAgent(cluster, { leadersFolder: leaders() });
}

async function authority() {
  const ca = await findCa(path.join(cluster.root, "ca"));
  if (ca === undefined) throw new Error("the fixture's authority is gone");
  return ca;
}

const certFile = () => readFile(path.join(cluster.nodePkiDir, "cert.pem"), "utf8");

test("a new certificate is for a new key, serves from the next connection on, and stays", async () => {
  const { node } = agent.client;
  const { csr } = await node.requestCertificate({ epoch: 1 });
  const { certificate } = await signRequest(await authority(), csr, { name: NODE, sans: [], usage: "node" });
  const keyBefore = await readFile(path.join(cluster.nodePkiDir, "key.pem"), "utf8");
  await node.installCertificate({ epoch: 1, certificate });
  await node.installCertificate({ epoch: 1, certificate });
  expect(await certFile()).toBe(certificate);
  expect(await readFile(path.join(cluster.nodePkiDir, "key.pem"), "utf8")).not.toBe(keyBefore);
  expect((await node.describe({ knownStorage: false })).nodeName).toBe(NODE);
  await restart();
  expect((await agent.client.node.describe({ knownStorage: false })).nodeName).toBe(NODE);
  expect(await readdir(cluster.nodePkiDir)).not.toContain("requested.key");
});

test("a certificate that is for another key, another name, another role or of another authority is not installed", async () => {
  const { node } = agent.client;
  const ca = await authority();
  const before = await certFile();
  const refused = async (csr: string, subject: Parameters<typeof signRequest>[2], by = ca) => {
    const { certificate } = await signRequest(by, csr, subject);
    await expect(node.installCertificate({ epoch: 1, certificate })).rejects.toThrow(OpPrereqError);
  };
  const right = { name: NODE, sans: [], usage: "node" } as const;
  await refused((await createSigningRequest()).csr, right);
  const { csr } = await node.requestCertificate({ epoch: 1 });
  await refused((await createSigningRequest()).csr, right);
  await refused(csr, { ...right, name: "node2.gannet.test" });
  await refused(csr, { ...right, usage: "master" });
  await refused(csr, right, await createCa({ dir: path.join(cluster.root, "other-ca") }));
  await expect(node.installCertificate({ epoch: 1, certificate: "nonsense" })).rejects.toThrow(/cannot be used/);
  expect(await certFile()).toBe(before);
});

test("revoked certificates stay revoked over a restart, and a leader of the past changes nothing", async () => {
  const { node } = agent.client;
  const ca = String((await authority()).certificate);
  await node.setTrust({ epoch: 5, authorities: [ca], revoked: ["0A1B"], revocationList: "" });
  await expect(node.setTrust({ epoch: 4, authorities: [ca], revoked: [], revocationList: "" })).rejects.toThrow(
    StaleEpoch,
  );
  await expect(node.forgetCluster({ epoch: 4 })).rejects.toThrow(StaleEpoch);
  const other = String((await createCa({ dir: path.join(cluster.root, "other-ca") })).certificate);
  const wrong = [[other], [], [await certFile()], ["nonsense"]];
  for (const authorities of wrong)
    await expect(node.setTrust({ epoch: 5, authorities, revoked: [], revocationList: "" })).rejects.toThrow(
      OpPrereqError,
    );
  await expect(
    node.setTrust({ epoch: 5, authorities: [ca], revoked: ["not a number"], revocationList: "" }),
  ).rejects.toThrow(OpPrereqError);
  expect(await readFile(path.join(cluster.nodePkiDir, "revoked"), "utf8")).toBe("0A1B\n");
  const listFile = path.join(cluster.nodePkiDir, "crl.pem");
  const told = { epoch: 5, authorities: [ca], revoked: ["0A1B"] };
  const list = await revocationList(await authority(), ["0A1B"]);
  await node.setTrust({ ...told, revocationList: list });
  expect(await readFile(listFile, "utf8")).toBe(list);
  const stranger = await revocationList(await createCa({ dir: path.join(cluster.root, "other-ca") }), ["0A1B"]);
  for (const revocations of [stranger, "nonsense", ca])
    await expect(node.setTrust({ ...told, revocationList: revocations })).rejects.toThrow(OpPrereqError);
  // A leader that cannot sign leaves it; without anything revoked there is none.
  await node.setTrust({ ...told, revocationList: "" });
  expect(await readFile(listFile, "utf8")).toBe(list);
  await node.setTrust({ ...told, revoked: [], revocationList: "" });
  expect(await readdir(cluster.nodePkiDir)).not.toContain("crl.pem");
  const master = new X509Certificate(cluster.master.cert).serialNumber;
  await node.setTrust({ epoch: 5, authorities: [ca, other], revoked: [master], revocationList: "" });
  await expect(node.describe({ knownStorage: false })).rejects.toThrow(/is revoked/);
  await restart();
  await expect(agent.client.node.describe({ knownStorage: false })).rejects.toThrow(/is revoked/);
});

test("what is kept of the leaders of a cluster is found again after it has changed its authority, twice", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-leaders-"));
  try {
    const pems = await Promise.all(
      ["first", "second", "third"].map(async (name) => {
        const { certificate } = await createCa({ dir: path.join(folder, name) });
        return Buffer.from(String(certificate));
      }),
    );
    const [first, second, third] = pems as [Buffer, Buffer, Buffer];
    const state = path.join(folder, "state");
    const taken = await takeStateFolder(state, first);
    await keepLeaders(state, first, Buffer.concat([second, first]));
    await keepLeaders(state, Buffer.concat([second, first]), second);
    await keepLeaders(state, second, Buffer.concat([third, second]));
    taken.release();
    for (const authorities of [second, third, Buffer.concat([third, second])]) {
      const again = await takeStateFolder(state, authorities);
      expect(await realpath(again.leaders)).toBe(await realpath(taken.leaders));
      again.release();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
