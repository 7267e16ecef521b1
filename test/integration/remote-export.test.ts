/** An instance that moves from one cluster to another, by the calls that Ganeti's move-instance makes. */
import { createHmac } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import type { FinishedJob } from "../one-machine-cluster.ts";
import { ONE, told } from "./simulated-instances.ts";
import {
  type Awaited,
  beginImport,
  createSource,
  creation,
  disksOf,
  exportation,
  from,
  INSTANCE,
  leftovers,
  NAME,
  type Prepared,
  prepared,
  SECRET,
  secretFile,
  to,
  useTwoClusters,
} from "./two-clusters.ts";

useTwoClusters();

const refused = (job: FinishedJob) => JSON.stringify(job.opresult);

describe("an instance", () => {
  test("arrives with its contents, and stays at its source, stopped", async () => {
    const contents = await createSource();
    const prep = await prepared();
    const { id, awaited } = await beginImport(prep, { compress: "gzip" });
    expect(awaited.disks).toHaveLength(2);
    const sent = await from().succeed("PUT", `${INSTANCE}/export`, exportation(prep, awaited, { compress: "gzip" }));
    expect(sent.opresult).toEqual([[true, [true, true]]]);
    const received = await to().finished(id);
    expect(received, told(received)).toMatchObject({ status: "success", opresult: [[ONE]] });
    for (const [index, file] of (await disksOf(to(), NAME)).entries())
      expect((await readFile(file)).equals(contents[index] ?? Buffer.alloc(0)), `disk ${index}`).toBe(true);
    expect((await from().rapi("GET", INSTANCE)).body).toMatchObject({ admin_state: "down" });
    expect((await to().rapi("GET", INSTANCE)).body).toMatchObject({ admin_state: "down", os: "noop" });
    expect(await leftovers(from())).toEqual([]);
    expect(await leftovers(to())).toEqual([]);
    await to().succeed("DELETE", INSTANCE);
  });

  test("that runs is stopped, sent, removed, and started where it goes to", async () => {
    await from().succeed("PUT", `${INSTANCE}/startup`);
    const prep = await prepared();
    const { id, awaited } = await beginImport(prep, { instance_name: "renamed.gannet.test", start: true });
    await from().succeed("PUT", `${INSTANCE}/export`, exportation(prep, awaited, { remove_instance: true }));
    const received = await to().finished(id);
    expect(received, told(received)).toMatchObject({ status: "success" });
    expect(told(received)).toContain("OS rename script");
    expect((await from().rapi("GET", INSTANCE)).status).toBe(404);
    expect((await to().rapi("GET", "/2/instances/renamed.gannet.test")).body).toMatchObject({ admin_state: "up" });
    await to().succeed("DELETE", "/2/instances/renamed.gannet.test");
  });
});

describe("what is not signed by the other cluster, or cannot be, is refused", () => {
  let prep: Prepared;
  beforeAll(async () => {
    await createSource();
    prep = await prepared();
  });

  test("by the target, before anything is made", async () => {
    const [version, hash, salt] = prep.handshake;
    const older = createHmac("sha1", SECRET).update(`${salt}1:Hi, I'm Ganeti`).digest("hex");
    for (const [what, words] of [
      [{ source_handshake: null }, /Missing source handshake/],
      [{ source_handshake: [version] }, /Invalid handshake: it is not/],
      [{ source_handshake: [version, hash, "0".repeat(16)] }, /Hash didn't match, clusters don't share the same/],
      [
        { source_handshake: [1, older, salt] },
        /don't have the same remote import\/export protocol \(local=0, remote=1/,
      ],
      [{ source_x509_ca: null }, /Missing source X509 CA/],
      [{ source_x509_ca: prep.x509_ca.replace(/^X-Ganeti.*\n/, "") }, /Unable to load source X509 CA \(Can't find/],
      [{ source_x509_ca: otherSignature(prep.x509_ca) }, /Unable to load source X509 CA \(X509 cert.* is invalid/],
      [{ source_x509_ca: signed(EXPIRED) }, /Invalid source X509 CA \(Certificate is expired since/],
      [{ source_instance_name: null }, /Missing source instance name/],
      [{ disks: [], disk_template: "diskless" }, /disks of the instance are missing/],
      [{ compress: "rot13" }, /not among the cluster's compression tools/],
    ] as const) {
      const job = await to().job("POST", "/2/instances", creation(prep, what));
      expect(job.status).toBe("error");
      expect(refused(job)).toMatch(words);
      expect(refused(job)).toContain("wrong_input");
    }
    expect((await to().rapi("GET", "/2/instances")).body).toEqual([]);
  });

  test("by the source, which goes on as it was", async () => {
    await from().succeed("PUT", `${INSTANCE}/startup`);
    const disk = (index: number, port = 4000) => {
      const magic = "a-magic";
      const salt = "0123456789abcdef";
      const text = `${salt}${index}:127.0.0.1:${port}:${magic}`;
      return ["127.0.0.1", port, magic, createHmac("sha1", SECRET).update(text).digest("hex"), salt];
    };
    const good = { disks: [disk(0), disk(1)] as unknown as Awaited["disks"], x509_ca: prep.x509_ca };
    const [name, hash, salt] = prep.x509_key_name;
    for (const [what, words] of [
      [{ x509_key_name: null }, /Missing X509 key name/],
      [{ x509_key_name: [name] }, /Invalid data for X509 key name/],
      [{ x509_key_name: ["x509-0000000000000000", hash, salt] }, /HMAC for X509 key name is wrong/],
      [{ destination_x509_ca: null }, /Missing destination X509 CA/],
      [{ destination_x509_ca: otherSignature(prep.x509_ca) }, /Unable to load destination X509 CA/],
      [{ destination_x509_ca: signed(EXPIRED) }, /Invalid destination X509 CA \(Certificate is expired/],
      [{ destination: [disk(0)] }, /destination information for only 1 disks, but instance .* has 2/],
      [{ destination: [disk(1), disk(0)] }, /Target info for disk 0: HMAC is wrong/],
    ] as const) {
      const job = await from().job("PUT", `${INSTANCE}/export`, exportation(prep, good, what));
      expect(job.status).toBe("error");
      expect(refused(job)).toMatch(words);
      expect(refused(job)).toContain("wrong_input");
    }
    expect((await from().rapi("GET", INSTANCE)).body).toMatchObject({ admin_state: "up", status: "running" });
  });

  test("by a cluster that has no secret", async () => {
    const file = secretFile(from());
    await writeFile(file, "");
    const job = await from().job("PUT", `${INSTANCE}/prepare-export?mode=remote`);
    await writeFile(file, `${SECRET}\n`);
    expect(refused(job)).toMatch(/does not hold a cluster domain secret.*environment_error/);
  });
});

test("a sender whose certificate is not the announced one is not let in, and both ends are as before", async () => {
  const [announced, other] = [await prepared(), await prepared()];
  const { id, awaited } = await beginImport(announced);
  const sent = await from().job("PUT", `${INSTANCE}/export`, exportation(other, awaited));
  expect(sent.status).toBe("error");
  expect(refused(sent)).toMatch(/Export failed on node1/);
  expect((await from().rapi("GET", INSTANCE)).body).toMatchObject({ admin_state: "up", status: "running" });
  // The right one is let in after that.
  await from().succeed("PUT", `${INSTANCE}/export`, exportation(announced, awaited));
  expect(await to().finished(id)).toMatchObject({ status: "success" });
});

test("the secret is in no log, job or file of the clusters", async () => {
  for (const cluster of [from(), to()]) {
    expect(cluster.log).not.toContain(SECRET);
    const jobs = await cluster.rapi("GET", "/2/jobs?bulk=1");
    expect(JSON.stringify(jobs.body)).not.toContain(SECRET);
  }
});

function signed(pem: string): string {
  const salt = "0123456789abcdef";
  const hash = createHmac("sha1", SECRET)
    .update(salt + pem)
    .digest("hex");
  return `X-Ganeti-Signature: ${salt}/${hash}\n\n${pem}`;
}

function otherSignature(certificate: string): string {
  return certificate.replace(/\/[0-9a-f]{40}/, `/${"0".repeat(40)}`);
}

/** Valid on 2020-01-01. */
const EXPIRED = `-----BEGIN CERTIFICATE-----
MIIBHjCBxgIBATAKBggqhkjOPQQDAjAcMRowGAYDVQQDDBFub2RlMS5nYW5uZXQu
dGVzdDAeFw0yMDAxMDEwMDAwMDBaFw0yMDAxMDIwMDAwMDBaMBwxGjAYBgNVBAMM
EW5vZGUxLmdhbm5ldC50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWHIl
ar3PmufrSfain5qnSjBeb5HL22VfnnOi9bYNLNXJ8OgtPSET10wbQTmLjWzINcM3
F59oZ2pNGwSU6CmyjzAKBggqhkjOPQQDAgNHADBEAiAdFnneVFh1OSHE5IXmj2Xm
B4UPHw4ynmE9PAtV6OrBAQIgfOxiu2ZqMK0OTlkMgjDOq953FiL9HBIduDqdCtxq
RmA=
-----END CERTIFICATE-----
`;
