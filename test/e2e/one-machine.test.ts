/** The contract of `make run`: what it makes and listens on, what it does when something dies, stop and resume. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { loadIdentity } from "@gannet/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bridgeName } from "../../deploy/one-machine/guest-network.ts";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { listeningAddresses, processesOf, startOf, uptime } from "./cluster-processes.ts";
import { eventually } from "./conditions.ts";
import { endOf, launch } from "./launcher.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";
const HYPERVISORS = existsSync(QEMU) ? ["kvm", "fake"] : ["fake"];
/** Longest time between the end of a daemon and its next start. */
const RESTART_SECONDS = 2;

if (!existsSync(QEMU))
  console.log(`skipped: no guest of the one-machine tests is a qemu process, ${QEMU} is not installed`);

const create = (name: string, changes: Readonly<Record<string, unknown>> = {}) => ({
  __version__: 1,
  mode: "create",
  instance_name: name,
  disk_template: "file",
  disks: [{ size: 4 }],
  nics: [{}],
  os_type: "noop",
  pnode: "node1.gannet.test",
  hypervisor: "fake",
  ...changes,
});

let cluster: OneMachineCluster;
let folder: string;
let stateDir: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-run-"));
  stateDir = path.join(folder, "state");
  cluster = await OneMachineCluster.start({ stateDir, nodes: 2, hypervisors: HYPERVISORS.join(",") });
  for (const [name, hypervisor] of [
    ["up1.gannet.test", HYPERVISORS[0]],
    ["up2.gannet.test", "fake"],
    ["down.gannet.test", "fake"],
  ])
    await cluster.succeed("POST", "/2/instances", create(name ?? "", { hypervisor }));
  await cluster.succeed("PUT", "/2/instances/down.gannet.test/shutdown", { timeout: 0 });
});

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function get<Body>(resource: string): Promise<Body> {
  const { status, body } = await cluster.rapi("GET", resource);
  if (status !== 200) throw new Error(`GET ${resource}: ${status} ${JSON.stringify(body)}`);
  return body as Body;
}

/** Each instance's status, by its name. */
async function statuses(): Promise<Readonly<Record<string, string>>> {
  const rows = await get<{ name: string; status: string }[]>("/2/instances?bulk=1");
  return Object.fromEntries(rows.map(({ name, status }) => [name, status]));
}

async function jobStatuses(): Promise<ReadonlyMap<number, string>> {
  const jobs = await get<{ id: number; status: string }[]>("/2/jobs?bulk=1");
  return new Map(jobs.map(({ id, status }) => [id, status]));
}

/** All agents are connected and have told about their nodes. */
async function allNodesReport(): Promise<boolean> {
  const nodes = await get<{ mtotal: number | null }[]>("/2/nodes?bulk=1");
  return nodes.every(({ mtotal }) => mtotal !== null);
}

const RUNNING = { "up1.gannet.test": "running", "up2.gannet.test": "running", "down.gannet.test": "ADMIN_down" };

/** Files of the state directory in which this text stands, by their paths in it. */
function filesHolding(text: string): readonly string[] {
  return readdirSync(stateDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => contentOf(file).includes(text))
    .map((file) => path.relative(stateDir, file))
    .sort();
}

/** Empty for a file that has gone since it was listed. */
function contentOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

const guests = () => processesOf(stateDir).filter(({ command }) => command.startsWith(QEMU));

describe("a cluster that has come up", { timeout: 120_000 }, () => {
  test("is what the variables asked for", async () => {
    expect(cluster.log).toMatch(
      new RegExp(
        `^gannet ready: https://127\\.0\\.0\\.1:${cluster.port} credentials: ${stateDir}/rapi/credentials$`,
        "m",
      ),
    );
    expect(await get("/2/info")).toMatchObject({
      enabled_hypervisors: HYPERVISORS,
      default_hypervisor: HYPERVISORS[0],
    });
    expect(await get<{ id: string }[]>("/2/nodes")).toMatchObject([
      { id: "node1.gannet.test" },
      { id: "node2.gannet.test" },
    ]);
    expect(await statuses()).toEqual(RUNNING);
  });

  test("has a pid file for each daemon, which names a process of it", async () => {
    const commands = new Map(processesOf(stateDir).map(({ pid, command }) => [pid, command]));
    for (const [daemon, program] of [
      ["redis", "redis-server"],
      ["master", "services/master/"],
      ["node1", "services/node-agent/"],
      ["node2", "services/node-agent/"],
    ] as const)
      expect(commands.get(await cluster.pid(daemon)), daemon).toContain(program);
  });

  test("keeps its secrets in files of this user alone, and nowhere else", async () => {
    expect(readFileSync(path.join(stateDir, "rapi/credentials"), "utf8")).toMatch(/^\S+ \S{16,}\n$/);
    const withPassword = filesHolding(cluster.password);
    expect(withPassword).toEqual(["rapi/credentials", "rapi/users"]);
    const withKey = filesHolding("PRIVATE KEY-----");
    // The authority, the remote API, the master and two agents.
    expect(withKey.length).toBeGreaterThanOrEqual(5);
    const modeOf = (file: string) => statSync(path.join(stateDir, file)).mode & 0o777;
    for (const file of [...withPassword, ...withKey]) expect([file, modeOf(file)]).toEqual([file, 0o600]);
    expect(modeOf(".")).toBe(0o700);
    expect(cluster.log).not.toContain(cluster.password);
    expect(processesOf(stateDir).filter(({ command }) => command.includes(cluster.password))).toEqual([]);
  });

  test("listens on loopback addresses only", async () => {
    const addresses = listeningAddresses(processesOf(stateDir).map(({ pid }) => pid));
    expect(addresses).toContain(`127.0.0.1:${cluster.port}`);
    // The remote API and two agents.
    expect(addresses.length).toBeGreaterThanOrEqual(3);
    expect(addresses.filter((address) => !/^(127\.|\[::1\]:)/.test(address))).toEqual([]);
  });

  test("answers nothing on its port to plain HTTP", async () => {
    const credentials = Buffer.from(`${cluster.user}:${cluster.password}`).toString("base64");
    const request = `GET /2/info HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ${credentials}\r\n\r\n`;
    const answer = await new Promise<string>((resolve) => {
      const chunks: Buffer[] = [];
      const socket = connect(cluster.port, "127.0.0.1", () => socket.write(request));
      socket.on("data", (chunk) => chunks.push(chunk));
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(Buffer.concat(chunks).toString("latin1")));
    });
    // At most a TLS alert.
    expect(answer).not.toMatch(/[ -~]{4}/);
  });

  test("lets an agent be called with the master's certificate only", async () => {
    const agent = JSON.parse(readFileSync(path.join(stateDir, "node2/agent.json"), "utf8")) as {
      listen: { host: string; port: number };
      nodeName: string;
    };
    const address = `${agent.listen.host}:${agent.listen.port}`;
    const { ca, ...master } = await loadIdentity(path.join(stateDir, "master/identity"));
    const { cert, key } = await loadIdentity(path.join(stateDir, "node1/identity"));
    const secure = { ca, servername: agent.nodeName };
    expect(await healthOf(`https://${address}`, { ...secure, ...master })).toBe("grpc-status 0");
    // PERMISSION_DENIED: nodes are each other's clients, but not for this.
    expect(await healthOf(`https://${address}`, { ...secure, cert, key })).toBe("grpc-status 7");
    expect(await healthOf(`https://${address}`, secure)).toMatch(/^refused/);
    expect(await healthOf(`http://${address}`, {})).toMatch(/^refused/);
  });

  test("reads its users file anew when it is edited", async () => {
    const file = path.join(stateDir, "rapi/users");
    const before = await readFile(file, "utf8");
    const user = "visitor:lookonly";
    const statusOf = async (method: string, resource: string) =>
      (await cluster.rapi(method, resource, { user })).status;
    expect(await statusOf("GET", "/2/info")).toBe(401);
    await appendFile(file, "visitor {cleartext}lookonly read\n");
    await eventually("the new user is known", async () => (await statusOf("GET", "/2/info")) === 200);
    expect(await statusOf("PUT", "/2/tags?tag=x")).toBe(403);
    await writeFile(file, before);
    await eventually("the user is forgotten", async () => (await statusOf("GET", "/2/info")) === 401);
  });

  test("refuses a second launcher on its state directory, and is not disturbed", async () => {
    const files = ["master/master.json", "node1/agent.json", "rapi/users", "run/ports.json"];
    const contents = () => files.map((file) => readFileSync(path.join(stateDir, file), "utf8"));
    const bridge = `/sys/class/net/${bridgeName(stateDir)}`;
    const before = { contents: contents(), bridge: existsSync(bridge) };
    const { code, output } = await endOf(
      launch({ GANNET_STATE_DIR: stateDir, GANNET_RAPI_PORT: "1", GANNET_NODES: "5", GANNET_LOG_FORMAT: "json" }),
    );
    expect(code).toBeGreaterThan(0);
    expect(output.trim().split("\n").at(-1)).toContain(stateDir);
    expect({ contents: contents(), bridge: existsSync(bridge) }).toEqual(before);
    expect(await statuses()).toEqual(RUNNING);
  });
});

describe("when a daemon is killed", { timeout: 120_000 }, () => {
  test.each(["redis", "master", "node1"])("%s is started again within seconds, and guests go on", async (daemon) => {
    const guestsBefore = guests();
    const pid = await cluster.pid(daemon);
    const killed = uptime();
    process.kill(pid, "SIGKILL");
    const started = await eventually(`${daemon} is there again`, async () => {
      const now = await cluster.pid(daemon);
      return now === pid ? undefined : startOf(now);
    });
    expect(started - killed).toBeLessThan(RESTART_SECONDS);
    await eventually("all agents report", allNodesReport);
    await eventually("the guests are seen again", async () => isDeepStrictEqual(await statuses(), RUNNING));
    expect(guests()).toEqual(guestsBefore);
    await cluster.succeed("PUT", `/2/tags?tag=${daemon}-was-killed`);
  });

  test("jobs that were accepted before Redis died are all finished, each wholly or not at all", async () => {
    const gate = path.join(stateDir, "gate");
    await defineWaitingOs(gate);
    const names = Array.from({ length: 8 }, (_, index) => `j${index}.gannet.test`);
    const submit = async (method: string, resource: string, body?: unknown) => {
      const answer = await cluster.rapi(method, resource, body === undefined ? {} : { body });
      expect(answer).toMatchObject({ status: expect.toBeOneOf([200, 503]) });
      return answer;
    };
    const creates = await Promise.all(
      names.map((name) => submit("POST", "/2/instances", create(name, { os_type: "waiting" }))),
    );
    expect(creates).toEqual(names.map(() => ({ status: 200, body: expect.any(Number) })));
    await eventually("some of them run", async () => {
      const running = [...(await jobStatuses()).values()].filter((status) => status === "running");
      return running.length > 1;
    });
    const pid = await cluster.pid("redis");
    process.kill(pid, "SIGKILL");
    const late = await Promise.all(["late1", "late2", "late3"].map((tag) => submit("PUT", `/2/tags?tag=${tag}`)));
    await eventually("Redis is there again", async () => (await cluster.pid("redis")) !== pid);
    await writeFile(gate, "");

    const ids = [...creates, ...late].filter(({ status }) => status === 200).map(({ body }) => body as number);
    const jobs = await Promise.all(ids.map((id) => cluster.finished(id)));
    const expected = names.filter((_, index) => jobs[index]?.status === "success").sort();
    const present = Object.keys(await statuses()).filter((name) => names.includes(name));
    expect(present.sort()).toEqual(expected);
    // Their names are free or theirs alone: no lock, no half-made disk is in the way of what comes next.
    for (const name of names.filter((name) => !present.includes(name)))
      await cluster.succeed("POST", "/2/instances", create(name));
    await Promise.all(names.map((name) => cluster.succeed("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 })));
  });
});

describe("stop and resume", { timeout: 120_000 }, () => {
  let before: { info: { uuid: string; name: string }; jobs: ReadonlyMap<number, string>; taps: readonly string[] };

  test("SIGTERM stops everything and leaves files only", async () => {
    const bridge = `/sys/class/net/${bridgeName(stateDir)}`;
    before = {
      info: await get("/2/info"),
      jobs: await jobStatuses(),
      taps: existsSync(bridge) ? readdirSync(path.join(bridge, "brif")) : [],
    };
    // Each guest has one NIC, where there is a bridge that it can join.
    if (existsSync(bridge)) expect(before.taps).toHaveLength(guests().length);
    expect(processesOf(stateDir).length).toBeGreaterThan(4);
    expect(await cluster.stop("SIGTERM")).toBe(0);
    expect(processesOf(stateDir)).toEqual([]);
    expect([bridge, ...before.taps.map((tap) => `/sys/class/net/${tap}`)].filter((link) => existsSync(link))).toEqual(
      [],
    );
    expect(readdirSync(path.join(stateDir, "run")).filter((file) => file.endsWith(".pid"))).toEqual([]);
  });

  test("the next start resumes the same cluster, also with another port and more nodes", async () => {
    const { password } = cluster;
    cluster = await OneMachineCluster.start({ stateDir, nodes: 3, hypervisors: HYPERVISORS.join(",") });
    expect(cluster.password).toBe(password);
    expect(await get("/2/info")).toMatchObject({ uuid: before.info.uuid, name: before.info.name });
    expect(await get<unknown[]>("/2/nodes")).toHaveLength(3);
    const jobs = await jobStatuses();
    for (const [id, status] of before.jobs) expect([id, jobs.get(id)]).toEqual([id, status]);
    const tagged = await cluster.succeed("PUT", "/2/tags?tag=resumed");
    expect(tagged.id).toBeGreaterThan(Math.max(...before.jobs.keys()));
  });

  test("guests that ran run again, and one that was down stays down", async () => {
    await eventually("the guests run", async () => isDeepStrictEqual(await statuses(), RUNNING));
    expect(guests()).toHaveLength(HYPERVISORS.includes("kvm") ? 1 : 0);
  });

  test("when the launcher is killed its daemons end with it, guests go on, and the next start takes them up", async () => {
    const guestsBefore = guests();
    await cluster.stop("SIGKILL");
    await eventually("all daemons have ended", () => processesOf(stateDir).length === guestsBefore.length);
    cluster = await OneMachineCluster.start({ stateDir, nodes: 3, hypervisors: HYPERVISORS.join(",") });
    await eventually("the guests are seen again", async () => isDeepStrictEqual(await statuses(), RUNNING));
    expect(guests()).toEqual(guestsBefore);
  });

  test("Ctrl-C stops it as well", async () => {
    expect(await cluster.stop("SIGINT")).toBe(0);
    expect(processesOf(stateDir)).toEqual([]);
  });
});

/** The answer of an agent's health service: its gRPC status, or how the connection was refused. */
function healthOf(url: string, tls: object): Promise<string> {
  return new Promise((resolve) => {
    const session = connectHttp2(url, tls);
    const refused = (why: string) => {
      session.destroy();
      resolve(`refused: ${why}`);
    };
    session.on("error", (error) => refused(error.message));
    session.on("close", () => refused("closed"));
    const call = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const answered = (headers: Readonly<Record<string, unknown>>) => {
      if (headers["grpc-status"] === undefined) return;
      resolve(`grpc-status ${String(headers["grpc-status"])}`);
      session.close();
    };
    call.on("response", answered);
    call.on("trailers", answered);
    call.on("error", (error) => refused(error.message));
    call.resume();
    // An empty message: not compressed, of length 0.
    call.end(Buffer.alloc(5));
  });
}

/** An OS definition whose create script waits until the gate is there. */
async function defineWaitingOs(gate: string): Promise<void> {
  const dir = path.join(stateDir, "os/waiting");
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, "ganeti_api_version"), "20\n");
  await writeFile(path.join(dir, "parameters.list"), "");
  for (const file of ["create", "import", "export", "rename", "verify"]) {
    const script = file === "create" ? `until [ -e '${gate}' ]; do sleep 0.1; done` : "exit 0";
    await writeFile(path.join(dir, file), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
}
