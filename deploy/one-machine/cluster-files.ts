/** Makes the files of a one-machine cluster: identities, ports, and each daemon's configuration. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { createCa, IDENTITY_FILES, issueCertificate } from "@gannet/pki";
import { installSimulatedIp, type SimulatedStorageTools } from "../../test/simulated-tools/install.ts";
import { FILE_STORAGE_DIR, SHARED_FILE_STORAGE_DIR } from "./initial-configuration.ts";
import type { Layout, NodePlan } from "./layout.ts";
import { QEMU, type Settings } from "./settings.ts";

const DOMAIN_SECRET_BYTES = 20;

/** Where OS definitions are looked for after the cluster's own folder: here, then Ganeti's places. */
const OS_SEARCH_PATH = [
  path.resolve(import.meta.dirname, "../os"),
  "/srv/ganeti/os",
  "/usr/local/lib/ganeti/os",
  "/usr/lib/ganeti/os",
  "/usr/share/ganeti/os",
];

/** The same for allocators. */
const ALLOCATOR_SEARCH_PATH = ["/usr/local/lib/ganeti/iallocators", "/usr/lib/ganeti/iallocators"];

/** Keys and certificates of all daemons; those that are there and valid stay. */
export async function ensureIdentities(layout: Layout): Promise<void> {
  const ca = await createCa({ dir: layout.caDir });
  const issue = (name: string, usage: "node" | "master" | "rapi", dir: string, sans: readonly string[]) =>
    issueCertificate({ ca, name, usage, dir, sans });
  await issue("master", "master", layout.masterIdentityDir, []);
  await issue("localhost", "rapi", layout.rapiIdentityDir, ["127.0.0.1"]);
  for (const node of layout.nodes) await issue(node.name, "node", node.identityDir, [node.ip]);
}

/** What this cluster and others prove by that instances may move between them: both are given the same file. */
export async function ensureDomainSecret(layout: Layout): Promise<void> {
  const secret = randomBytes(DOMAIN_SECRET_BYTES).toString("hex");
  await mkdir(layout.masterDir, { recursive: true, mode: 0o700 });
  await writeFile(layout.domainSecretFile, `${secret}\n`, { mode: 0o600, flag: "wx" }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    },
  );
}

/** The port of each agent: chosen once, kept as long as the cluster lives. */
export async function ensurePorts(layout: Layout): Promise<ReadonlyMap<string, number>> {
  const text = await readFile(layout.portsFile, "utf8").catch(() => "{}");
  const ports = new Map(Object.entries(JSON.parse(text) as Record<string, number>));
  for (const node of layout.nodes) if (!ports.has(node.id)) ports.set(node.id, await freePort(node.ip));
  await writeAtomically(layout.portsFile, ports);
  return ports;
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address !== null
          ? resolve(address.port)
          : reject(new Error(`no port on ${host}`)),
      );
    });
  });
}

export async function writeMasterConfiguration(
  layout: Layout,
  settings: Pick<Settings, "rapiPort" | "logFormat" | "watcher" | "metricsPort">,
): Promise<void> {
  await mkdir(layout.masterDir, { recursive: true, mode: 0o700 });
  await writeAtomically(layout.masterConfigFile, {
    nodeName: layout.nodes[0]?.name,
    redis: `unix:${layout.redisSocket}`,
    stateDir: layout.masterStateDir,
    identityDir: layout.masterIdentityDir,
    caDir: layout.caDir,
    domainSecretFile: layout.domainSecretFile,
    rapi: {
      host: "127.0.0.1",
      port: settings.rapiPort,
      usersFile: layout.usersFile,
      certificateFile: path.join(layout.rapiIdentityDir, IDENTITY_FILES.cert),
      keyFile: path.join(layout.rapiIdentityDir, IDENTITY_FILES.key),
    },
    watcher: { enabled: settings.watcher === "on" },
    metrics: settings.metricsPort === undefined ? false : { port: settings.metricsPort },
    logFormat: settings.logFormat,
  });
}

export async function writeAgentConfiguration(
  layout: Layout,
  node: NodePlan,
  settings: Settings,
  facts: {
    readonly port: number;
    readonly userNetworking: boolean;
    /** The system's own when absent. */
    readonly storageTools?: SimulatedStorageTools | undefined;
  },
): Promise<void> {
  const root = path.join(node.dir, "root");
  const shared = layout.sharedStorageDir;
  for (const dir of [node.dir, path.join(node.dir, "state")]) await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const dir of [path.join(root, FILE_STORAGE_DIR), path.join(shared, SHARED_FILE_STORAGE_DIR)])
    await mkdir(dir, { recursive: true, mode: 0o750 });
  await writeAtomically(node.configFile, {
    nodeName: node.name,
    listen: { host: node.ip, port: facts.port },
    stateDir: path.join(node.dir, "state"),
    pkiDir: node.identityDir,
    hypervisors: settings.hypervisors,
    storageRoot: root,
    sharedStorageRoot: shared,
    fileStorageRoots: [path.join(root, FILE_STORAGE_DIR)],
    sharedFileStorageRoots: [path.join(shared, SHARED_FILE_STORAGE_DIR)],
    ...(facts.storageTools === undefined ? {} : { storageTools: facts.storageTools }),
    exportDir: path.join(node.dir, "state", "export"),
    osSearchPath: [layout.osDir, ...OS_SEARCH_PATH],
    hooksFolder: layout.hooksDir,
    scriptFolder: layout.scriptsDir,
    allocatorSearchPath: [layout.allocatorsDir, ...ALLOCATOR_SEARCH_PATH],
    kvm: { qemuPath: QEMU, userNetworking: facts.userNetworking },
    // The machine is everybody's, its addresses and its hosts file, too.
    powercycle: false,
    addressTools: await installSimulatedIp(node.simulatedAddressesDir),
    hostsFile: path.join(node.dir, "hosts"),
    metrics: settings.metricsPort === undefined ? false : { host: node.ip, port: settings.metricsPort },
    log: { format: settings.logFormat },
    stopTimeoutMs: 5_000,
  });
}

async function writeAtomically(file: string, value: unknown): Promise<void> {
  const json = value instanceof Map ? Object.fromEntries(value) : value;
  await writeFile(`${file}.new`, `${JSON.stringify(json, null, 2)}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}
