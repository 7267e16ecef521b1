/** Whose addresses are, and who answers, over the agent's real server. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestCluster, startTestAgent, type TestAgent, type TestCluster } from "../agent-fixture.ts";

let cluster: TestCluster;
let agent: TestAgent;
let server: Server;
const sources: (string | undefined)[] = [];
beforeAll(async () => {
  cluster = await createTestCluster();
  agent = await startTestAgent(cluster, { leadersFolder: path.join(cluster.root, "leaders") });
  server = createServer((socket) => {
    sources.push(socket.remoteAddress);
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterAll(async () => {
  server.close();
  await agent.stop();
  await cluster.remove();
});

const NOTHING = { own: [], peers: [], from: "" };
const port = () => (server.address() as AddressInfo).port;

it("tells addresses of the node, loopback's all among them, from those of others", async () => {
  const request = { ...NOTHING, own: ["127.0.0.1", "127.0.3.7", "192.0.2.77", "2001:db8::77"] };
  expect(await agent.client.node.checkAddresses(request)).toEqual({
    foreign: ["192.0.2.77", "2001:db8::77"],
    silent: [],
  });
});

it("takes a listener and a refusal for an answer, and tries from the address that is named", async () => {
  const peers = [
    { address: "127.0.0.1", port: port() },
    { address: "127.0.0.1", port: 1 },
  ];
  expect(await agent.client.node.checkAddresses({ ...NOTHING, peers, from: "127.0.0.9" })).toEqual({
    foreign: [],
    silent: [],
  });
  expect(sources).toContain("127.0.0.9");
});

it("a peer that cannot be reached from there is silent", async () => {
  const peers = [{ address: "127.0.0.1", port: port() }];
  const { silent } = await agent.client.node.checkAddresses({ ...NOTHING, peers, from: "192.0.2.77" });
  expect(silent).toEqual(peers);
});

it.each([{ own: ["node1"] }, { from: "-x" }, { peers: [{ address: "127.0.0.1", port: 0 }] }])(
  "refuses %j",
  async (wrong) => {
    const error = await agent.client.node.checkAddresses({ ...NOTHING, ...wrong }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OpPrereqError);
  },
);
