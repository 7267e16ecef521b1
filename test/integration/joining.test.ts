/** Machines join a running cluster by tokens, their certificates are renewed and replaced under load, and those of a node that is removed are refused. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { cp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { promisify } from "node:util";
import { HttpError } from "@gannet/errors";
import { formatJoinToken, parseJoinToken } from "@gannet/opcodes";
import {
  certificatesIn,
  createCa,
  createSigningRequest,
  fingerprintOf,
  issueCertificate,
  loadIdentity,
} from "@gannet/pki";
import { JoinClient } from "@gannet/rapi-client";
import { createNodeClient } from "@gannet/rpc";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { writeAgentConfiguration } from "../../deploy/one-machine/cluster-files.ts";
import { type Layout, layoutOf, type NodePlan } from "../../deploy/one-machine/layout.ts";
import { type FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const run = promisify(execFile);
const AGENT_SOURCE = path.resolve(import.meta.dirname, "../../services/node-agent/src");
const AGENT_PORT = 1811;
const NODES = 3;
const WAIT = { timeout: 60_000 };

let cluster: OneMachineCluster;
let layout: Layout;
let newcomer: NodePlan;
let agent: ChildProcess | undefined;
/** Every token that was made: none may be found in a log. */
const secrets: string[] = [];

beforeAll(async () => {
  cluster = await OneMachineCluster.start({ nodes: NODES });
  layout = layoutOf(cluster.stateDir, NODES + 1);
  const last = layout.nodes[NODES];
  if (last === undefined) throw new Error("a layout of four nodes has fewer");
  newcomer = last;
  const settings = { stateDir: "", rapiPort: 0, nodeCount: 1, hypervisors: ["fake"], storage: "real" } as const;
  const facts = { port: AGENT_PORT, userNetworking: false };
  await writeAgentConfiguration(layout, newcomer, { ...settings, logFormat: "json", watcher: "off" }, facts);
});
afterAll(async () => {
  await stopAgent();
  await cluster?.[Symbol.asyncDispose]();
});

const url = () => `https://127.0.0.1:${cluster.port}`;

async function newToken(more: object = {}): Promise<string> {
  const body = { node_name: newcomer.name, primary_ip: newcomer.ip, ...more };
  const answer = await cluster.rapi("POST", "/2/join-tokens", { body });
  expect(answer).toMatchObject({ status: 200 });
  const { token } = answer.body as { token: string };
  secrets.push(parseJoinToken(token)?.secret ?? "");
  return token;
}

async function startAgent(): Promise<void> {
  const started = spawn(process.execPath, [path.join(AGENT_SOURCE, "main.ts"), "--config", newcomer.configFile], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  agent = started;
  let output = "";
  started.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  await vi.waitFor(() => expect(output).toContain("agent ready"), WAIT);
}

async function stopAgent(): Promise<void> {
  if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
  const ended = once(agent, "exit");
  agent.kill();
  await ended;
}

/**
 * `gannet-node join` as an operator runs it, on a machine without systemd.
 * @param agentStart - starts the agent, when the program asks for it
 * @returns what it printed
 */
async function join(token: string, agentStart: () => Promise<void> = startAgent): Promise<string> {
  const args = ["join", url(), "--token-file", "-", "--name", newcomer.name, "--config", newcomer.configFile];
  const program = spawn(process.execPath, [path.join(AGENT_SOURCE, "program.ts"), ...args]);
  let output = "";
  for (const stream of [program.stdout, program.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  program.stdin.end(token);
  const exit = once(program, "exit");
  await vi.waitFor(() => expect(output).toContain("start the agent now"), WAIT);
  await stopAgent();
  await agentStart();
  const [code] = await exit;
  if (code !== 0) throw new Error(`gannet-node ended with ${code}: ${output}`);
  return output;
}

async function job(opcode: string, params: object): Promise<FinishedJob> {
  const { body } = await cluster.rapi("POST", `/2/opcodes/${opcode}`, { body: params });
  return await cluster.finished(body as number);
}

const certificateOf = async (dir: string) => new X509Certificate(await readFile(path.join(dir, "cert.pem")));

test("a fourth node joins with the one line that its token came with, and takes guests", async () => {
  const token = await newToken();
  expect((await cluster.rapi("GET", "/2/join-tokens")).body).toMatchObject([
    { node_name: newcomer.name, role: "node" },
  ]);
  const output = await join(token);
  expect(output).toContain(`${newcomer.name} is a node of the cluster`);
  expect(output).not.toContain(parseJoinToken(token)?.secret);
  expect((await cluster.rapi("GET", "/2/join-tokens")).body).toEqual([]);
  await vi.waitFor(async () => {
    const { body } = await cluster.rapi("GET", `/2/nodes/${newcomer.name}`);
    expect(body).toMatchObject({ pip: newcomer.ip, mtotal: expect.any(Number) });
  }, WAIT);
  const { subject, subjectAltName } = await certificateOf(newcomer.identityDir);
  expect(subject).toBe(`OU=node\nCN=${newcomer.name}`);
  expect(subjectAltName).toBe(`DNS:${newcomer.name}, IP Address:${newcomer.ip}`);
  expect((await stat(path.join(newcomer.identityDir, "key.pem"))).mode & 0o777).toBe(0o600);
  const web = {
    __version__: 1,
    mode: "create",
    instance_name: "web1.gannet.test",
    disk_template: "diskless",
    disks: [],
  };
  await cluster.succeed("POST", "/2/instances", { ...web, nics: [], os: "noop", pnode: newcomer.name });
  await cluster.succeed("DELETE", "/2/instances/web1.gannet.test");
});

test("a leader that hangs and dies while a node joins costs time only", async () => {
  const output = await join(await newToken({ readd: true }), async () => {
    const pid = await cluster.pid("master");
    process.kill(pid, "SIGSTOP");
    await startAgent();
    process.kill(pid, "SIGKILL");
  });
  expect(output).toContain(`${newcomer.name} is a node of the cluster`);
});

test("a joiner says nothing to another cluster, nor to a node that stands in for the remote API", async () => {
  const token = formatJoinToken({ id: "a".repeat(12), secret: "b".repeat(43), fingerprint: "c".repeat(64) });
  await expect(JoinClient.open(url(), token)).rejects.toThrow(/is not the cluster that this token is of/);
  const real = await JoinClient.open(url(), await newToken({ readd: true }));
  const { cert, key, ca } = await loadIdentity(newcomer.identityDir);
  const asked: string[] = [];
  const impostor = createServer({ cert: Buffer.concat([cert, ca]), key }, (request, response) => {
    asked.push(request.url ?? "");
    response.end("{}");
  });
  await once(impostor.listen(0, "127.0.0.1"), "listening");
  try {
    const fingerprint = fingerprintOf(new X509Certificate(real.authority));
    const text = formatJoinToken({ id: "a".repeat(12), secret: "b".repeat(43), fingerprint });
    const fooled = await JoinClient.open(`https://127.0.0.1:${(impostor.address() as AddressInfo).port}`, text);
    await expect(fooled.complete()).rejects.toThrow(/altnames|remote API/);
    expect(asked).toEqual([]);
  } finally {
    impostor.close();
  }
});

test("a certificate that ends soon is renewed without being asked for, and the agent goes on", async () => {
  await stopAgent();
  const file = (name: string) => path.join(newcomer.identityDir, name);
  const key = file("key.pem");
  await writeFile(file("ext"), `extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:${newcomer.name}\n`);
  await run("openssl", ["req", "-new", "-key", key, "-subj", `/OU=node/CN=${newcomer.name}`, "-out", file("csr")]);
  const issuer = ["-CA", path.join(layout.caDir, "ca.pem"), "-CAkey", path.join(layout.caDir, "ca.key"), "-days", "30"];
  await run("openssl", [
    "x509",
    "-req",
    "-in",
    file("csr"),
    ...issuer,
    "-extfile",
    file("ext"),
    "-out",
    file("cert.pem"),
  ]);
  const ending = await certificateOf(newcomer.identityDir);
  await startAgent();
  await vi.waitFor(
    async () => expect((await certificateOf(newcomer.identityDir)).serialNumber).not.toBe(ending.serialNumber),
    WAIT,
  );
  const renewed = await certificateOf(newcomer.identityDir);
  expect(renewed.validToDate.getTime()).toBeGreaterThan(Date.now() + 365 * 24 * 3_600_000);
  expect((await job("OP_TEST_DELAY", { duration: 0, on_nodes: [newcomer.name] })).status).toBe("success");
});

test("the authority and all certificates change under load, and no call fails", async () => {
  const before = new X509Certificate(await readFile(path.join(layout.caDir, "ca.pem")));
  const oldMaster = await loadIdentity(layout.masterIdentityDir);
  const identities = [
    layout.masterIdentityDir,
    layout.rapiIdentityDir,
    ...layout.nodes.map((node) => node.identityDir),
  ];
  const serials = async () => await Promise.all(identities.map(async (dir) => (await certificateOf(dir)).serialNumber));
  const serialsBefore = await serials();

  const over = new AbortController();
  const counts = { reads: 0, jobs: 0, calls: 0 };
  const address = `${newcomer.ip}:${AGENT_PORT}`;
  const steady = createNodeClient({ nodeName: newcomer.name, address, identity: oldMaster });
  const failures: unknown[] = [];
  const names = layout.nodes.map(({ name }) => name);
  const load = [
    async () => {
      const answer = await cluster.rapi("GET", "/2/nodes?bulk=1");
      if (answer.status !== 200) throw new Error(JSON.stringify(answer));
      counts.reads += 1;
    },
    async () => {
      const done = await job("OP_TEST_DELAY", { duration: 0, on_nodes: names, on_master: false });
      if (done.status !== "success") throw new Error(JSON.stringify(done.opresult));
      counts.jobs += 1;
    },
    async () => {
      expect((await steady.node.describe({ knownStorage: false })).nodeName).toBe(newcomer.name);
      counts.calls += 1;
    },
  ].map(async (work) => {
    while (!over.signal.aborted) await work().catch((error: unknown) => failures.push(error));
  });

  const renewed = await job("OP_CLUSTER_RENEW_CRYPTO", { cluster_certificate: true });
  const jobsThen = counts.jobs;
  await vi.waitFor(() => expect(counts.jobs).toBeGreaterThan(jobsThen + 2), WAIT);
  over.abort();
  await Promise.all(load);

  expect(renewed.opresult).toEqual([null]);
  expect(failures).toEqual([]);
  expect(Math.min(counts.reads, counts.calls)).toBeGreaterThan(0);
  steady.close();
  const after = new X509Certificate(await readFile(path.join(layout.caDir, "ca.pem")));
  expect(after.fingerprint256).not.toBe(before.fingerprint256);
  for (const dir of identities) {
    const trusted = certificatesIn(await readFile(path.join(dir, "ca.pem")));
    expect([dir, trusted.map(({ fingerprint256 }) => fingerprint256)]).toEqual([dir, [after.fingerprint256]]);
    expect((await certificateOf(dir)).verify(after.publicKey)).toBe(true);
  }
  const serialsAfter = await serials();
  expect(serialsAfter.filter((serial) => serialsBefore.includes(serial))).toEqual([]);

  // What was issued by the old authority is worth nothing to an agent any more.
  const replaced = createNodeClient({ nodeName: newcomer.name, address, identity: oldMaster, connectTimeoutMs: 2_000 });
  await expect(replaced.node.describe({ knownStorage: false }, { timeoutMs: 5_000 })).rejects.toThrow(
    /cannot be reached/,
  );
  replaced.close();
});

test("a change of the authority whose leader dies in the middle is ended by the next one", async () => {
  const before = new X509Certificate(await readFile(path.join(layout.caDir, "ca.pem")));
  const dirs = [layout.masterIdentityDir, ...layout.nodes.map((node) => node.identityDir)];
  const trustedIn = async (dir: string) => certificatesIn(await readFile(path.join(dir, "ca.pem"), "utf8"));
  const pid = await cluster.pid("master");
  await cluster.rapi("POST", "/2/opcodes/OP_CLUSTER_RENEW_CRYPTO", { body: { cluster_certificate: true } });
  // The first node has been told to trust both.
  while ((await trustedIn(dirs[1] ?? "")).length < 2) await new Promise((resolve) => setImmediate(resolve));
  process.kill(pid, "SIGKILL");
  await vi.waitFor(async () => {
    const newest = new X509Certificate(await readFile(path.join(layout.caDir, "ca.pem")));
    expect(newest.fingerprint256).not.toBe(before.fingerprint256);
    for (const dir of dirs) {
      expect((await trustedIn(dir)).map(({ fingerprint256 }) => fingerprint256)).toEqual([newest.fingerprint256]);
      expect((await certificateOf(dir)).verify(newest.publicKey)).toBe(true);
    }
  }, WAIT);
  const names = layout.nodes.map(({ name }) => name);
  await vi.waitFor(async () => {
    const done = await job("OP_TEST_DELAY", { duration: 0, on_nodes: names, on_master: false });
    expect(done.status).toBe("success");
  }, WAIT);
});

test("an agent that starts again after the change knows its epoch and its leader still", async () => {
  await stopAgent();
  await startAgent();
  expect((await readdir(path.join(newcomer.dir, "state", "leaders"))).length).toBe(3);
  await vi.waitFor(async () => {
    const { body } = await cluster.rapi("GET", `/2/nodes/${newcomer.name}`);
    expect(body).toMatchObject({ mtotal: expect.any(Number) });
  }, WAIT);
  expect((await job("OP_TEST_DELAY", { duration: 0, on_nodes: [newcomer.name] })).status).toBe("success");
});

test("a node that is removed destroys its key, its certificate is refused at once, and it comes back with a new one", async () => {
  const kept = path.join(cluster.stateDir, "kept-identity");
  await cp(newcomer.identityDir, kept, { recursive: true });
  const { serialNumber } = await certificateOf(kept);
  expect((await job("OP_NODE_REMOVE", { node_name: newcomer.name })).opresult).toEqual([null]);
  await expect(readFile(path.join(newcomer.identityDir, "key.pem"))).rejects.toThrow(/ENOENT/);
  const master = await loadIdentity(layout.masterIdentityDir);
  const address = `${newcomer.ip}:${AGENT_PORT}`;
  const client = createNodeClient({ nodeName: newcomer.name, address, identity: master });
  await expect(client.node.describe({ knownStorage: false })).rejects.toThrow(/removed from the cluster/);
  client.close();
  for (const { identityDir } of layout.nodes.slice(0, NODES)) {
    expect(await readFile(path.join(identityDir, "revoked"), "utf8")).toContain(serialNumber);
    const [ca, list] = ["ca.pem", "crl.pem"].map((name) => path.join(identityDir, name));
    const verify = (dir: string) =>
      run("openssl", ["verify", "-crl_check", "-CAfile", `${ca}`, "-CRLfile", `${list}`, path.join(dir, "cert.pem")]);
    await expect(verify(kept)).rejects.toThrow(/certificate revoked/);
    await verify(identityDir);
  }

  // Somebody has kept the key.
  await stopAgent();
  await rm(newcomer.identityDir, { recursive: true });
  await cp(kept, newcomer.identityDir, { recursive: true });
  await startAgent();
  const refused = await job("OP_NODE_ADD", { node_name: newcomer.name, primary_ip: newcomer.ip });
  expect(refused.opresult).toEqual([["OpPrereqError", [expect.stringMatching(/is revoked/), "wrong_state"]]]);

  expect(await join(await newToken())).toContain(`${newcomer.name} is a node of the cluster`);
  expect((await certificateOf(newcomer.identityDir)).serialNumber).not.toBe(serialNumber);
});

test("tokens that are used, revoked, expired, guessed, of another node or another cluster are refused, and guessing slows down", async () => {
  const { csr } = await createSigningRequest();
  const attempt = async (token: string, body: { node_name?: string; csr?: string } = {}) => {
    const client = await JoinClient.open(url(), token);
    return await client.join({ node_name: newcomer.name, csr, ...body }).catch((error: HttpError) => error);
  };
  const refusal = (message: RegExp) =>
    expect.objectContaining({ status: 403, message: expect.stringMatching(message) });
  const token = await newToken({ readd: true });
  const fingerprint = parseJoinToken(token)?.fingerprint ?? "";

  // What cannot be signed costs no token.
  expect(await attempt(token, { csr: "nonsense" })).toMatchObject({ status: 400 });
  expect(await attempt(token, { node_name: "node9.gannet.test" })).toEqual(refusal(/is for node4.gannet.test/));
  const answers = await Promise.all([attempt(token), attempt(token)]);
  expect(answers.filter((answer) => !(answer instanceof HttpError))).toHaveLength(1);
  expect(answers).toContainEqual(refusal(/was used already/));
  const id = parseJoinToken(await newToken({ readd: true }));
  if (id === undefined) throw new Error("no token");
  expect(await attempt(formatJoinToken({ ...id, secret: "x".repeat(43) }))).toEqual(refusal(/is not known/));
  expect((await cluster.rapi("DELETE", `/2/join-tokens/${id.id}`)).status).toBe(200);
  expect(await attempt(formatJoinToken(id))).toEqual(refusal(/expired, was revoked/));
  const unknown = formatJoinToken({ id: "a".repeat(12), secret: "b".repeat(43), fingerprint });
  await vi.waitFor(async () => expect(await attempt(unknown)).toMatchObject({ status: 429 }), { timeout: 30_000 });

  expect((await cluster.rapi("POST", "/2/join-tokens", { body: { node_name: newcomer.name } })).status).not.toBe(200);
  const master = { node_name: "node1.gannet.test", role: "master" };
  const { body } = await cluster.rapi("POST", "/2/join-tokens", { body: master });
  expect(body).toMatchObject({ message: expect.stringContaining("Redis serves one machine only") });

  const stored = await readFile(path.join(layout.masterStateDir, "audit.log"), "utf8");
  expect(stored).toContain('"path":"/2/join"');
  expect(cluster.log).toContain("a token for joining was refused");
  expect(secrets.filter((secret) => (cluster.log + stored).includes(secret))).toEqual([]);
});

test("a cluster of its own fingerprint cannot be joined by a certificate of another authority", async () => {
  const other = await createCa({ dir: path.join(cluster.stateDir, "other-ca") });
  const dir = path.join(cluster.stateDir, "other-rapi");
  await issueCertificate({ ca: other, name: "join.gannet.internal", sans: [], usage: "rapi", dir });
  const { cert, key } = await loadIdentity(dir);
  // It shows the true authority's certificate above a leaf of its own.
  const real = await readFile(path.join(layout.caDir, "ca.pem"));
  const server = createServer({ cert: Buffer.concat([cert, real]), key }, (_request, response) => response.end("{}"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    const fingerprint = fingerprintOf(new X509Certificate(real));
    const token = formatJoinToken({ id: "a".repeat(12), secret: "b".repeat(43), fingerprint });
    const attempt = JoinClient.open(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, token);
    await expect(attempt.then((client) => client.complete())).rejects.toThrow(/not the cluster|certificate/);
  } finally {
    server.close();
  }
});
