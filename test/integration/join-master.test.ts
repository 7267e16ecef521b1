/** What `gannet-admin join-master` makes of a cluster's answer: a machine that the master, Redis and Sentinel can start on. */
import { X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { HttpError } from "@gannet/errors";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import type { JoinAnswer, JoinBody } from "@gannet/opcodes";
import {
  type CertificateAuthority,
  type CertificateUsage,
  createCa,
  createSigningRequest,
  findCa,
  loadIdentity,
  signRequest,
} from "@gannet/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MachinePlaces } from "../../services/admin/src/init/machine-places.ts";
import { joinMaster } from "../../services/admin/src/join-master/join-master.ts";
import { readConfiguration } from "../../services/master/src/configuration.ts";

const NODE = "node2.gannet.test";
const PRIMARY = { address: "192.0.2.1", port: 1812 };
let root: string;
let ca: CertificateAuthority;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gannet-join-master-"));
  ca = await createCa({ dir: path.join(root, "cluster-ca") });
});
afterAll(() => rm(root, { recursive: true }));

/** Signs as the leader does. */
async function answerTo(body: Partial<JoinBody>, more: Partial<JoinAnswer> = {}): Promise<JoinAnswer> {
  const sign = async (csr: string | null | undefined, usage: CertificateUsage) =>
    (await signRequest(ca, csr ?? "", { name: NODE, sans: ["192.0.2.2"], usage })).certificate;
  return {
    ...{ role: "master", cluster_name: "cluster.gannet.test", node_name: NODE },
    ca: String(ca.certificate),
    certificate: await sign(body.csr, "master"),
    settings: { hypervisors: ["kvm"], file_storage_dirs: [], shared_file_storage_dirs: [] },
    master: {
      ca_key: await readFile(ca.keyFile, "utf8"),
      rapi_certificate: await sign(body.rapi_csr, "rapi"),
      redis_certificate: await sign(body.redis_csr, "redis"),
      domain_secret: "shared",
      redis_password: "of-redis",
      redis_ca: String(ca.certificate),
      users: "admin {cleartext}secret write\n",
      credentials: "token gnt_of-this-machine",
      redis: "sentinel://192.0.2.1:1813,192.0.2.3:1813/gannet",
      rapi_port: 5080,
      node_address: "192.0.2.2",
    },
    ...more,
  };
}

async function machine(name: string): Promise<MachinePlaces> {
  const places = new MachinePlaces(path.join(root, name));
  const file = places.at(SYSTEM_LAYOUT.nodeConfigFile);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify({ nodeName: NODE }));
  return places;
}

const clientOf = (join: (body: Partial<JoinBody>) => Promise<JoinAnswer>) => ({
  authority: String(ca.certificate),
  join,
});
const join = (places: MachinePlaces, client: ReturnType<typeof clientOf>, force = false) =>
  joinMaster({ name: undefined, force }, { places, client, primaryOf: async () => PRIMARY });

test("has the master's files with the modes that they need, and what the daemons read", async () => {
  const places = await machine("whole");
  const joined = await join(places, clientOf(answerTo));
  expect(joined).toMatchObject({ nodeName: NODE, masters: 3 });
  const configuration = await readConfiguration(places.at(SYSTEM_LAYOUT.masterConfigFile));
  expect(configuration).toMatchObject({
    nodeName: NODE,
    redis: "sentinel://192.0.2.1:1813,192.0.2.3:1813,192.0.2.2:1813/gannet",
    servers: { redis: "192.0.2.2:1812", sentinel: "192.0.2.2:1813" },
    caDir: places.at(SYSTEM_LAYOUT.caDir),
  });
  expect((await findCa(configuration.caDir ?? ""))?.certificate.fingerprint256).toBe(ca.certificate.fingerprint256);
  for (const [dir, unit] of [
    [configuration.identityDir, "master"],
    [path.dirname(configuration.rapi.certificateFile), "rapi"],
    [configuration.redisTlsDir ?? "", "redis"],
  ] as const)
    expect(new X509Certificate((await loadIdentity(dir)).cert).subject).toContain(`OU=${unit}`);
  for (const file of [
    places.at(`${SYSTEM_LAYOUT.caDir}/ca.key`),
    places.at(`${SYSTEM_LAYOUT.masterIdentityDir}/key.pem`),
    places.at(`${SYSTEM_LAYOUT.masterIdentityDir}/cluster-domain-secret`),
    places.at(SYSTEM_LAYOUT.redisPasswordFile),
    places.at(SYSTEM_LAYOUT.redisConfigFile),
    places.at(SYSTEM_LAYOUT.sentinelConfigFile),
    places.at(SYSTEM_LAYOUT.usersFile),
    places.at(SYSTEM_LAYOUT.adminCredentialsFile),
  ])
    expect([file, (await stat(file)).mode & 0o777]).toEqual([file, 0o600]);
  const redis = await readFile(places.at(SYSTEM_LAYOUT.redisConfigFile), "utf8");
  expect(redis).toContain("replicaof 192.0.2.1 1812");
  expect(redis).toContain("min-replicas-to-write 1");
  // Until the leader has seen that it has everything.
  expect(redis).toContain("replica-priority 0");
  expect(await readFile(places.at(SYSTEM_LAYOUT.adminCredentialsFile), "utf8")).toBe("token gnt_of-this-machine\n");
  expect(await readFile(places.at(SYSTEM_LAYOUT.sentinelConfigFile), "utf8")).toContain(
    "sentinel monitor gannet 192.0.2.1 1812 2",
  );
  const leftovers = (await readdir(places.root, { recursive: true })).filter((name) => /\.new-|\.next/.test(name));
  expect(leftovers).toEqual([]);
});

test("a machine with a master stays as it is, unless it is to be made anew", async () => {
  const places = await machine("again");
  const asked: unknown[] = [];
  const client = clientOf(async (body) => {
    asked.push(body.node_name);
    return await answerTo(body);
  });
  await join(places, client);
  await expect(join(places, client)).rejects.toThrow(/this machine has a master/);
  await join(places, client, true);
  expect(asked).toEqual([NODE, NODE]);
});

test("what was half done, refused, or is for others leaves no master's configuration", async () => {
  const places = await machine("refused");
  const file = places.at(SYSTEM_LAYOUT.masterConfigFile);
  const refused = clientOf(async () => {
    throw new HttpError(403, "This token was used already");
  });
  await expect(join(places, refused)).rejects.toThrow(/was used already/);
  const other = await answerTo({ ...(await requestsOfAnother()) });
  await expect(
    join(
      places,
      clientOf(async () => other),
    ),
  ).rejects.toThrow(/not for this machine/);
  await expect(
    join(
      places,
      clientOf((body) => answerTo(body, { master: null })),
    ),
  ).rejects.toThrow(/is a node's/);
  await expect(readFile(file)).rejects.toThrow(/ENOENT/);
  await join(places, clientOf(answerTo));
  expect(await readFile(file, "utf8")).not.toMatch(/of-redis|shared|PRIVATE/);
});

async function requestsOfAnother(): Promise<Partial<JoinBody>> {
  const { csr } = await createSigningRequest();
  return { csr, rapi_csr: csr, redis_csr: csr };
}
