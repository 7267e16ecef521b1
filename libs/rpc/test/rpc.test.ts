import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect as connectTcp, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import {
  BlockDeviceError,
  CommandError,
  ConfigurationError,
  NodeUnreachable,
  OpPrereqError,
  StaleEpoch,
} from "@gannet/errors";
import {
  type CertificateAuthority,
  type CertificateUsage,
  createCa,
  type Identity,
  issueCertificate,
  loadIdentity,
} from "@gannet/pki";
import { credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import fc from "fast-check";
import { service as healthService } from "grpc-health-check";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import {
  type AgentHandlers,
  type AgentServer,
  type CallContext,
  createAgentServer,
  createNodeClient,
  DEADLINES_MS,
  decodeParameters,
  encodeParameters,
  LiveIdentity,
  type LiveStateUpdate,
  type NodeClient,
  SERVICES,
} from "../src/index.ts";

const run = promisify(execFile);
const NODE = "node1.gannet.test";
let root: string;
let ca: CertificateAuthority;
let server: AgentServer;
let client: NodeClient;
let node: Identity;
let master: Identity;
const onDelay = vi.fn<AgentHandlers["node"]["delay"]>();
const onWatch = vi.fn<AgentHandlers["node"]["watch"]>();

async function issue(name: string, usage: CertificateUsage, from = ca): Promise<Identity> {
  const dir = path.join(root, name);
  await issueCertificate({ ca: from, name, sans: ["127.0.0.1"], usage, dir });
  return loadIdentity(dir);
}

/** Handlers of the methods that no test calls refuse; `delay` and `watch` are set by each test. */
function handlers(): AgentHandlers {
  const refuse = () => {
    throw new Error("not called here");
  };
  const all = Object.fromEntries(
    Object.entries(SERVICES).map(([name, methods]) => [
      name,
      Object.fromEntries(Object.keys(methods).map((m) => [m, refuse])),
    ]),
  ) as unknown as AgentHandlers;
  return { ...all, node: { ...all.node, delay: onDelay, watch: onWatch } };
}

const startServer = (options: { development: boolean }) =>
  createAgentServer({
    identity: node,
    listen: { host: "127.0.0.1", port: 0 },
    handlers: handlers(),
    onCallEnd: () => {},
    ...options,
  });
const clientOf = (identity: Identity, nodeName = NODE, port = server.port) =>
  createNodeClient({ nodeName, address: `127.0.0.1:${port}`, identity, restartTimeoutMs: 500 });
const delay = (target: NodeClient, options?: { signal?: AbortSignal; timeoutMs?: number }) =>
  target.node.delay({ step: { epoch: 1, jobId: 1, opcodeIndex: 0, step: "delay" }, durationMs: 0 }, options);
const aborted = (call: CallContext) =>
  new Promise<void>((resolve) => call.signal.addEventListener("abort", () => resolve()));

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gannet-rpc-"));
  ca = await createCa({ dir: path.join(root, "ca") });
  node = await issue(NODE, "node");
  master = await issue("master.gannet.test", "master");
  server = await startServer({ development: false });
  client = clientOf(master);
});
afterAll(async () => {
  client.close();
  await server.stop(0);
  await rm(root, { recursive: true });
});
beforeEach(() => {
  onDelay.mockReset().mockResolvedValue({});
  onWatch.mockReset();
});

test("the master's call is answered", async () => {
  expect(await delay(client)).toEqual({});
});

test("a node that takes connections and is silent is unreachable soon", async () => {
  const silent = createTcpServer();
  await once(silent.listen(0, "127.0.0.1"), "listening");
  const { port } = silent.address() as AddressInfo;
  const identity = master;
  const toSilent = createNodeClient({ nodeName: NODE, address: `127.0.0.1:${port}`, identity, connectTimeoutMs: 200 });
  try {
    await expect(delay(toSilent)).rejects.toThrow(/no connection within 0.2 s/);
    const watch = toSilent.node.watch({ epoch: 1, heartbeatMs: 1 })[Symbol.asyncIterator]();
    await expect(watch.next()).rejects.toBeInstanceOf(NodeUnreachable);
  } finally {
    toSilent.close();
    silent.close();
  }
});

test("a node that stays unreachable is waited for less, and for as long as before once it has been there again", async () => {
  const gate = createTcpServer();
  await once(gate.listen(0, "127.0.0.1"), "listening");
  const { port } = gate.address() as AddressInfo;
  const sockets = new Set<Socket>();
  let isOpen = false;
  gate.on("connection", (socket) => {
    sockets.add(socket.on("error", () => {}));
    if (!isOpen) return;
    const inner = connectTcp(server.port, "127.0.0.1").on("error", () => {});
    sockets.add(inner);
    socket.pipe(inner).pipe(socket);
  });
  const shut = () => {
    isOpen = false;
    for (const socket of sockets) socket.destroy();
  };
  const caller = createNodeClient({
    ...{ nodeName: NODE, address: `127.0.0.1:${port}`, identity: master },
    ...{ connectTimeoutMs: 400, lostConnectTimeoutMs: 100 },
  });
  try {
    await expect(delay(caller)).rejects.toThrow(/no connection within 0.4 s/);
    await expect(delay(caller)).rejects.toThrow(/no connection within 0.1 s/);
    isOpen = true;
    for (const socket of sockets) socket.destroy();
    await vi.waitFor(() => delay(caller), { timeout: 10_000 });
    shut();
    await vi.waitFor(() => expect(delay(caller)).rejects.toThrow(/no connection within 0.4 s/), { timeout: 10_000 });
  } finally {
    caller.close();
    shut();
    gate.close();
  }
});

test("an agent that is started again is waited for, and one that stays away is so once", async () => {
  const gate = createTcpServer((socket) => {
    const inner = connectTcp(server.port, "127.0.0.1").on("error", () => {});
    sockets.push(
      socket.on("error", () => {}),
      inner,
    );
    socket.pipe(inner).pipe(socket);
  });
  const sockets: Socket[] = [];
  await once(gate.listen(0, "127.0.0.1"), "listening");
  const { port } = gate.address() as AddressInfo;
  const end = async () => {
    const closed = once(gate.close(), "close");
    for (const socket of sockets.splice(0)) socket.destroy();
    await closed;
  };
  /** A call that is made before the end of the connection was seen is sent, and what comes of it is not known. */
  const afterTheDrop = async (client: NodeClient): Promise<unknown> => {
    for (;;)
      try {
        return await delay(client);
      } catch (error) {
        if (!/Connection dropped/.test(String(error))) throw error;
      }
  };
  const address = `127.0.0.1:${port}`;
  const caller = createNodeClient({ nodeName: NODE, address, identity: master, restartTimeoutMs: 3_000 });
  const newcomer = createNodeClient({ nodeName: NODE, address, identity: master });
  try {
    await delay(caller);
    await end();
    const kept = afterTheDrop(caller);
    await expect(delay(newcomer)).rejects.toThrow(/ECONNREFUSED/);
    await once(gate.listen(port, "127.0.0.1"), "listening");
    expect(await kept).toEqual({});
    await end();
    await expect(afterTheDrop(caller)).rejects.toThrow(/no connection within 3 s/);
    await expect(delay(caller)).rejects.toThrow(/ECONNREFUSED/);
  } finally {
    caller.close();
    newcomer.close();
    if (gate.listening) await end();
  }
}, 20_000);

test("plaintext is refused", async () => {
  const socket = connectTcp(server.port, "127.0.0.1");
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.resume();
  await once(socket, "close");
  expect(onDelay).not.toHaveBeenCalled();
});

test("a client without a certificate, and one that speaks only TLS 1.2, does not get through the handshake", async () => {
  const options = { port: server.port, host: "127.0.0.1", servername: NODE, ca: node.ca, ALPNProtocols: ["h2"] };
  const anonymous = connectTls(options);
  await expect(once(anonymous, "close").then(() => anonymous.authorized)).rejects.toThrow(/certificate required/);
  const old = connectTls({ ...options, cert: master.cert, key: master.key, maxVersion: "TLSv1.2" });
  await expect(once(old, "secureConnect")).rejects.toThrow(/protocol version/);
});

test("a node's certificate and one of another authority are no master's", async () => {
  const otherCa = await createCa({ dir: path.join(root, "other-ca") });
  const stranger = await issue("stranger.gannet.test", "master", otherCa);
  for (const [identity, refusal] of [
    [node, ConfigurationError],
    [{ ...stranger, ca: node.ca }, NodeUnreachable],
  ] as const) {
    const other = clientOf(identity);
    await expect(delay(other, { timeoutMs: 10_000 })).rejects.toThrow(refusal);
    other.close();
  }
  expect(onDelay).not.toHaveBeenCalled();
});

test("a certificate that may be a client's but is not the master's is refused, also for the health service", async () => {
  const daemon = clientOf(await clientCertificateOf("OU=node"));
  await expect(delay(daemon)).rejects.toThrow(ConfigurationError);
  await expect(delay(daemon)).rejects.toThrow(/refused the call: .* is not a master's/);
  daemon.close();
  const twofold = clientOf(await clientCertificateOf("OU=node/OU=master"));
  await expect(delay(twofold)).rejects.toThrow(ConfigurationError);
  twofold.close();
  expect(onDelay).not.toHaveBeenCalled();
  await expect(checkHealth(await clientCertificateOf("OU=node"))).rejects.toThrow(/PERMISSION_DENIED/);
});

/** Signed by the cluster's authority for clients, with a subject that libs/pki does not issue. */
async function clientCertificateOf(subject: string): Promise<Identity> {
  const file = (name: string) => path.join(root, name);
  await writeFile(file("ext"), "extendedKeyUsage=clientAuth\n");
  await run("openssl", [
    "req",
    "-new",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-subj",
    `/${subject}`,
    "-keyout",
    file("k"),
    "-out",
    file("r"),
  ]);
  await run("openssl", [
    "x509",
    "-req",
    "-in",
    file("r"),
    "-CA",
    ca.certFile,
    "-CAkey",
    ca.keyFile,
    "-days",
    "1",
    "-set_serial",
    "7",
    "-extfile",
    file("ext"),
    "-out",
    file("c"),
  ]);
  return { ca: node.ca, cert: await readFile(file("c")), key: await readFile(file("k")) };
}

test("the master does not talk to an agent of another name, nor to another daemon of the cluster", async () => {
  const wrongName = clientOf(master, "node2.gannet.test");
  await expect(delay(wrongName, { timeoutMs: 10_000 })).rejects.toThrow(/node2.gannet.test cannot be reached/);
  wrongName.close();

  const rapi = await issue("node3.gannet.test", "rapi");
  const impostor = await createAgentServer({
    identity: rapi,
    listen: { host: "127.0.0.1", port: 0 },
    handlers: handlers(),
    onCallEnd: () => {},
    development: false,
  });
  const fooled = clientOf(master, "node3.gannet.test", impostor.port);
  await expect(delay(fooled, { timeoutMs: 10_000 })).rejects.toThrow(/is not a node's/);
  fooled.close();
  await impostor.stop(0);
});

test.each([
  new OpPrereqError("No such device", "unknown_entity"),
  new StaleEpoch("Epoch 3 is over"),
  new BlockDeviceError("Cannot create /srv/x: ünicode\nand lines"),
  new CommandError("Command /bin/false failed with exit code 1"),
])("an agent's error arrives as it was thrown: %s", async (thrown) => {
  onDelay.mockRejectedValue(thrown);
  const received: unknown = await delay(client).catch((error: unknown) => error);
  expect(received).toBeInstanceOf(thrown.constructor);
  expect(received).toMatchObject({ message: thrown.message });
  if (thrown instanceof OpPrereqError) expect(received).toMatchObject({ code: "unknown_entity" });
});

test("a huge message of an error is cut in its middle, not lost", async () => {
  onDelay.mockRejectedValue(new CommandError(`begin${"ü".repeat(100_000)}end`));
  await expect(delay(client)).rejects.toThrow(/^begin.* … .*end$/);
  await expect(delay(client)).rejects.toThrow(CommandError);
});

test("a node that does not listen is unreachable, by name", async () => {
  const nobody = createServer().listen(0, "127.0.0.1");
  await once(nobody, "listening");
  const { port } = nobody.address() as AddressInfo;
  nobody.close();
  const lonely = clientOf(master, NODE, port);
  const error: unknown = await delay(lonely).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(NodeUnreachable);
  expect(error).toMatchObject({ node: NODE, message: expect.stringContaining(NODE) });
  lonely.close();
});

test("a call past its deadline is given up on both sides", async () => {
  let ended: Promise<void> | undefined;
  onDelay.mockImplementation(async (_request, call) => {
    ended = aborted(call);
    await ended;
    return {};
  });
  const error: unknown = await delay(client, { timeoutMs: 300 }).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(NodeUnreachable);
  expect(error).toMatchObject({ message: `Node ${NODE} did not answer gannet.node.v1.NodeService/Delay in time` });
  await vi.waitFor(() => expect(ended).toBeDefined());
  await ended;
});

test("an aborted call rejects with the reason and aborts the handler", async () => {
  const abort = new AbortController();
  let ended: Promise<void> | undefined;
  onDelay.mockImplementation(async (_request, call) => {
    ended = aborted(call);
    abort.abort(new Error("no longer wanted"));
    await ended;
    return {};
  });
  await expect(delay(client, { signal: abort.signal })).rejects.toThrow("no longer wanted");
  await ended;
  await expect(delay(client, { signal: abort.signal })).rejects.toThrow("no longer wanted");
  expect(onDelay).toHaveBeenCalledTimes(1);
});

async function updates(stream: AsyncIterable<LiveStateUpdate>): Promise<LiveStateUpdate[]> {
  const received: LiveStateUpdate[] = [];
  for await (const update of stream) received.push(update);
  return received;
}

const heartbeat: LiveStateUpdate = { update: { $case: "heartbeat", value: {} } };

test("a stream brings updates in order, and leaving it early ends the handler", async () => {
  let ended = false;
  onWatch.mockImplementation(async function* (_request, call) {
    try {
      for (let i = 0; i < 3; i += 1) yield { update: { $case: "instanceGone", value: { name: `i${i}`, asOfMs: 0 } } };
      while (!call.signal.aborted) {
        yield heartbeat;
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      ended = true;
    }
  });
  const names: unknown[] = [];
  for await (const { update } of client.node.watch({ epoch: 1, heartbeatMs: 100 })) {
    if (update?.$case !== "instanceGone") break;
    names.push(update.value.name);
  }
  expect(names).toEqual(["i0", "i1", "i2"]);
  await vi.waitFor(() => expect(ended).toBe(true));
});

test("a stream that ends and one that fails are told apart", async () => {
  onWatch.mockImplementation(async function* () {
    yield heartbeat;
  });
  expect(await updates(client.node.watch({ epoch: 1, heartbeatMs: 100 }))).toEqual([heartbeat]);
  onWatch.mockImplementation(async function* () {
    yield heartbeat;
    throw new StaleEpoch("A newer leader watches");
  });
  await expect(updates(client.node.watch({ epoch: 1, heartbeatMs: 100 }))).rejects.toThrow(StaleEpoch);
});

async function checkHealth(identity: Identity): Promise<unknown> {
  const Health = loadPackageDefinition({ health: healthService } as never)
    .health as unknown as ServiceClientConstructor;
  const health = new Health(
    `127.0.0.1:${server.port}`,
    credentials.createSsl(identity.ca, identity.key, identity.cert),
    {
      "grpc.ssl_target_name_override": NODE,
    },
  );
  try {
    return await new Promise((resolve, reject) =>
      health.check?.({ service: "gannet.node.v1.NodeService" }, (error: Error | null, reply: unknown) =>
        error === null ? resolve(reply) : reject(error),
      ),
    );
  } finally {
    health.close();
  }
}

test("the health service answers the master", async () => {
  expect(await checkHealth(master)).toMatchObject({ status: "SERVING" });
});

test("reflection lists the services in development only", async () => {
  expect(await reflectedServices(server.port)).toBeUndefined();
  const developing = await startServer({ development: true });
  expect(await reflectedServices(developing.port)).toEqual(
    ["BlockDevice", "Instance", "Node", "Os", "Storage", "Transfer"].map((name) => `gannet.node.v1.${name}Service`),
  );
  await developing.stop(0);
});

/** Speaks the reflection protocol: request field 7 is list_services, the reply's names are field 6.1.1. */
async function reflectedServices(port: number): Promise<string[] | undefined> {
  const { Client, Metadata } = await import("@grpc/grpc-js");
  const reflecting = new Client(`127.0.0.1:${port}`, credentials.createSsl(master.ca, master.key, master.cert), {
    "grpc.ssl_target_name_override": NODE,
  });
  const call = reflecting.makeBidiStreamRequest(
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    (value: Buffer) => value,
    (value: Buffer) => value,
    new Metadata(),
  );
  call.write(Buffer.from([0x3a, 0x00]));
  try {
    for await (const reply of call)
      return (reply as Buffer)
        .toString("latin1")
        .match(/gannet\.node\.v1\.\w+Service/g)
        ?.sort();
    return undefined;
  } catch {
    return undefined;
  } finally {
    call.cancel();
    reflecting.close();
  }
}

test("a stopping server lets work end, ends streams, and aborts what takes too long", async () => {
  const stopping = await startServer({ development: false });
  const caller = clientOf(master, NODE, stopping.port);
  let finish = () => {};
  onDelay.mockImplementation(() => new Promise((resolve) => (finish = () => resolve({}))));
  onWatch.mockImplementation(async function* (_request, call) {
    yield heartbeat;
    await aborted(call);
  });
  const watched = updates(caller.node.watch({ epoch: 1, heartbeatMs: 100 }));
  const answered = delay(caller);
  await vi.waitFor(() => expect(onDelay).toHaveBeenCalled());
  const stopped = stopping.stop(10_000);
  expect(await watched).toEqual([heartbeat]);
  finish();
  expect(await answered).toEqual({});
  await stopped;
  await expect(delay(caller)).rejects.toThrow(NodeUnreachable);
  caller.close();

  const hanging = await startServer({ development: false });
  const second = clientOf(master, NODE, hanging.port);
  onDelay.mockReset().mockImplementation(async (_request, call) => {
    await aborted(call);
    throw call.signal.reason;
  });
  const outcome = delay(second).catch((error: unknown) => error);
  await vi.waitFor(() => expect(onDelay).toHaveBeenCalled());
  await hanging.stop(50);
  expect(await outcome).toMatchObject({ name: "JobCanceled" });
  second.close();
});

test("a connection that never gets through the handshake does not keep a stopping server", async () => {
  const stopping = await startServer({ development: false });
  const silent = connectTcp(stopping.port, "127.0.0.1");
  await once(silent, "connect");
  // Taken before the next connection, which gets through.
  const caller = clientOf(master, NODE, stopping.port);
  await delay(caller);
  caller.close();
  try {
    await stopping.stop(0);
  } finally {
    silent.destroy();
  }
});

test("calls made while the agent restarts succeed again soon after it is back", async () => {
  const first = await startServer({ development: false });
  const caller = clientOf(master, NODE, first.port);
  await delay(caller);
  await first.stop(0);
  await expect(delay(caller)).rejects.toThrow(NodeUnreachable);
  const second = await createAgentServer({
    identity: node,
    listen: { host: "127.0.0.1", port: first.port },
    handlers: handlers(),
    onCallEnd: () => {},
    development: false,
  });
  await vi.waitFor(() => delay(caller), { timeout: 10_000 });
  caller.close();
  await second.stop(0);
});

test("each call is told of with what came of it", async () => {
  const told: string[] = [];
  const measured = (port: number) =>
    createNodeClient({
      ...{ nodeName: NODE, address: `127.0.0.1:${port}`, identity: master, connectTimeoutMs: 200 },
      onCallEnd: ({ method, outcome }) => told.push(`${method} ${outcome}`),
    });
  const reachable = measured(server.port);
  await delay(reachable);
  onDelay.mockRejectedValueOnce(new OpPrereqError("no", "wrong_input"));
  await expect(delay(reachable)).rejects.toThrow(OpPrereqError);
  const stop = new AbortController();
  onDelay.mockImplementationOnce(async (_request, call) => {
    stop.abort(new Error("enough"));
    await aborted(call);
    return {};
  });
  await expect(delay(reachable, { signal: stop.signal })).rejects.toThrow("enough");
  reachable.close();
  const unreachable = measured(1);
  await expect(delay(unreachable)).rejects.toThrow(NodeUnreachable);
  unreachable.close();
  expect(told).toEqual(["ok", "error", "canceled", "unreachable"].map((outcome) => `NodeService/Delay ${outcome}`));
});

test("an address in use is an error", async () => {
  await expect(
    createAgentServer({
      identity: node,
      listen: { host: "127.0.0.1", port: server.port },
      handlers: handlers(),
      onCallEnd: () => {},
      development: false,
    }),
  ).rejects.toThrow(/^Cannot listen on 127.0.0.1:\d+: EADDRINUSE: [^[\]]+$/);
});

test("parameters keep their values and kinds over the wire", () => {
  const value = fc.oneof(fc.string(), fc.boolean(), fc.constant(null), fc.maxSafeInteger(), fc.double({ noNaN: true }));
  // The one name that a plain object cannot hold; no parameter table has it.
  const name = fc.string().filter((text) => text !== "__proto__");
  fc.assert(
    fc.property(fc.dictionary(name, value), (parameters) => {
      const request = SERVICES.blockDevices.status.requestSerialize({
        device: {
          uuid: "",
          template: "",
          logicalId: [],
          sizeMib: 0,
          mode: "",
          instanceName: "",
          index: 0,
          children: [],
          name: undefined,
          link: undefined,
          params: encodeParameters(parameters),
        },
      });
      const decoded = SERVICES.blockDevices.status.requestDeserialize(request);
      const back = decodeParameters(decoded.device?.params ?? {});
      const normal = Object.entries(parameters).map(([name, v]) => [name, Object.is(v, -0) ? 0 : v]);
      expect(back).toEqual(Object.fromEntries(normal));
    }),
  );
});

test("what a request says about its duration counts in its deadline", () => {
  const { delay: delayDeadline } = DEADLINES_MS.node;
  expect(
    typeof delayDeadline === "function" && delayDeadline({ step: undefined, durationMs: 3_600_000 }),
  ).toBeGreaterThan(3_600_000);
});

test("both sides change their authority and certificates while calls go on, and none fails", async () => {
  const nextCa = await createCa({ dir: path.join(root, "next-ca") });
  const both = Buffer.concat([await readFile(nextCa.certFile), await readFile(ca.certFile)]);
  const issueNext = async (name: string, usage: CertificateUsage) => {
    const dir = path.join(root, `next-${name}`);
    await issueCertificate({ ca: nextCa, name, sans: ["127.0.0.1"], usage, dir });
    return await loadIdentity(dir);
  };
  const [nextNode, nextMaster] = [await issueNext(NODE, "node"), await issueNext("master.gannet.test", "master")];
  const [ofNode, ofMaster] = [new LiveIdentity(node), new LiveIdentity(master)];
  const changing = await createAgentServer({
    ...{ identity: ofNode, listen: { host: "127.0.0.1", port: 0 }, handlers: handlers() },
    ...{ onCallEnd: () => {}, development: false },
  });
  const address = `127.0.0.1:${changing.port}`;
  const steady = createNodeClient({ nodeName: NODE, address, identity: ofMaster });
  const serials = new Set<string>();
  let isOver = false;
  let calls = 0;
  const failures: unknown[] = [];
  const work = async (target: () => { client: NodeClient; end: () => void }) => {
    while (!isOver) {
      const { client: each, end } = target();
      await delay(each).catch((error: unknown) => failures.push(error));
      end();
      calls += 1;
    }
  };
  const fresh = () => {
    const onCertificate = ({ serialNumber }: { serialNumber: string }) => void serials.add(serialNumber);
    const each = createNodeClient({ nodeName: NODE, address, identity: ofMaster, onCertificate });
    return { client: each, end: () => each.close() };
  };
  const load = [work(() => ({ client: steady, end: () => {} })), work(fresh)];
  const someCalls = async () => {
    const soon = calls + 20;
    await vi.waitFor(() => expect(calls).toBeGreaterThan(soon), { timeout: 30_000 });
  };
  await someCalls();
  for (const change of [
    () => ofNode.change({ ...node, ca: both }),
    () => ofMaster.change({ ...master, ca: both }),
    () => ofNode.change({ ...nextNode, ca: both }),
    () => ofMaster.change({ ...nextMaster, ca: both }),
    () => ofNode.change(nextNode),
    () => ofMaster.change(nextMaster),
  ]) {
    change();
    await someCalls();
  }
  isOver = true;
  await Promise.all(load);
  expect(failures).toEqual([]);
  expect(serials.size).toBe(2);
  const replaced = createNodeClient({ nodeName: NODE, address, identity: master });
  await expect(delay(replaced, { timeoutMs: 5_000 })).rejects.toThrow(NodeUnreachable);
  replaced.close();
  steady.close();
  await changing.stop(0);
});

test("a revoked certificate is refused at once: the master's on an open connection, the agent's on a new one", async () => {
  const ofNode = new LiveIdentity(node);
  const ofMaster = new LiveIdentity(master);
  const strict = await createAgentServer({
    ...{ identity: ofNode, listen: { host: "127.0.0.1", port: 0 }, handlers: handlers() },
    ...{ onCallEnd: () => {}, development: false },
  });
  const address = `127.0.0.1:${strict.port}`;
  const connected = createNodeClient({ nodeName: NODE, address, identity: master });
  await delay(connected);
  ofNode.revoke([new X509Certificate(master.cert).serialNumber.toLowerCase()]);
  await expect(delay(connected)).rejects.toThrow(/refused the call: .*is revoked/);
  ofNode.revoke([]);
  await delay(connected);
  ofNode.retire("it has left");
  await expect(delay(connected)).rejects.toThrow(/it has left/);
  ofMaster.revoke([new X509Certificate(node.cert).serialNumber]);
  const wary = createNodeClient({ nodeName: NODE, address, identity: ofMaster });
  await expect(delay(wary, { timeoutMs: 5_000 })).rejects.toThrow(/is revoked/);
  for (const each of [connected, wary]) each.close();
  await strict.stop(0);
});
