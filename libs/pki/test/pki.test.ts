import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect, createServer, type PeerCertificate, type TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { ConfigurationError } from "@gannet/errors";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type CertificateAuthority,
  type CertificateUsage,
  createCa,
  createSigningRequest,
  fitsKey,
  type Identity,
  issueCertificate,
  loadIdentity,
  signRequest,
} from "../src/index.ts";

const run = promisify(execFile);
let root: string;
let ca: CertificateAuthority;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gannet-pki-"));
  ca = await createCa({ dir: path.join(root, "ca") });
});
afterAll(() => rm(root, { recursive: true }));

const dirOf = (name: string) => path.join(root, name);
async function issue(name: string, usage: CertificateUsage, sans: string[] = [], from = ca): Promise<Identity> {
  const dir = dirOf(`${name}-${usage}`);
  await issueCertificate({ ca: from, name, sans, usage, dir });
  return loadIdentity(dir, { name });
}

/** Both sides check the other's certificate; answers what the server saw, or why one side refused. */
async function handshake(options: { server: Identity; client: Identity; trusted?: Identity; name: string }) {
  const trusted = options.trusted ?? options.server;
  const server = createServer({
    ...options.server,
    ca: trusted.ca,
    requestCert: true,
    // Checked below: a server that rejects by itself does not tell the reason.
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no address");
  try {
    const accepted = new Promise<PeerCertificate>((resolve, reject) => {
      server.once("secureConnection", (socket: TLSSocket) =>
        socket.authorized ? resolve(socket.getPeerCertificate()) : reject(new Error(String(socket.authorizationError))),
      );
      server.once("tlsClientError", reject);
    });
    const client = connect({
      port: address.port,
      host: "127.0.0.1",
      servername: options.name,
      ...options.client,
      ca: trusted.ca,
    });
    const connected = new Promise<void>((resolve, reject) => {
      client.once("secureConnect", resolve);
      client.once("error", reject);
    });
    const [peer] = await Promise.all([accepted, connected]).finally(() => client.destroy());
    return peer;
  } finally {
    server.close();
  }
}

test("a node and the master know each other by certificates of one authority", async () => {
  const node = await issue("node1.gannet.test", "node", ["127.0.0.1", "::1"]);
  const master = await issue("master.gannet.test", "master");
  const peer = await handshake({ server: node, client: master, name: "node1.gannet.test" });
  expect(peer.subject).toMatchObject({ CN: "master.gannet.test", OU: "master" });
});

test("openssl itself agrees on chain, purpose, key type and modes", async () => {
  await issue("node1.gannet.test", "node", ["127.0.0.1", "::1"]);
  await issue("rapi.gannet.test", "rapi");
  const cert = path.join(dirOf("node1.gannet.test-node"), "cert.pem");
  const verify = (purpose: string, file = cert) =>
    run("openssl", ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca.certFile, file]);
  await verify("sslserver");
  await verify("sslclient");
  await expect(verify("sslclient", path.join(dirOf("rapi.gannet.test-rapi"), "cert.pem"))).rejects.toThrow(
    /unsuitable certificate purpose|unsupported certificate purpose/,
  );
  const { stdout } = await run("openssl", ["x509", "-in", cert, "-noout", "-text"]);
  expect(stdout).toContain("ASN1 OID: prime256v1");
  expect(stdout).toContain("DNS:node1.gannet.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
  expect(stdout).toContain("CA:FALSE");
  for (const key of [ca.keyFile, path.join(dirOf("node1.gannet.test-node"), "key.pem")])
    expect((await stat(key)).mode & 0o777).toBe(0o600);
});

test("serial numbers are random", async () => {
  const serials = await Promise.all(
    ["a.test", "b.test"].map(async (name) => new X509Certificate((await issue(name, "node")).cert).serialNumber),
  );
  expect(serials[0]).not.toBe(serials[1]);
  for (const serial of [...serials, ca.certificate.serialNumber]) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
});

test("a node talks to nodes; the remote API's certificate is refused as a client's, the master's as a server's", async () => {
  const node = await issue("node1.gannet.test", "node", ["127.0.0.1", "::1"]);
  const other = await issue("node2.gannet.test", "node");
  const master = await issue("master.gannet.test", "master");
  const rapi = await issue("rapi.gannet.test", "rapi");
  // What a node may not do towards an agent, its role decides there (libs/rpc).
  const peer = await handshake({ server: node, client: other, name: "node1.gannet.test" });
  expect(peer.subject).toMatchObject({ CN: "node2.gannet.test", OU: "node" });
  await expect(handshake({ server: node, client: rapi, name: "node1.gannet.test" })).rejects.toThrow(/INVALID_PURPOSE/);
  await expect(handshake({ server: master, client: master, name: "master.gannet.test" })).rejects.toThrow(/purpose/);
});

test("a node's certificate from when nodes did not talk to each other is issued anew", async () => {
  const name = "older.gannet.test";
  await issue(name, "node");
  const [extensions, request] = [path.join(root, "older.cnf"), path.join(root, "older.csr")];
  const [key, cert] = ["key.pem", "cert.pem"].map((file) => path.join(dirOf(`${name}-node`), file)) as [string, string];
  await writeFile(extensions, `extendedKeyUsage=serverAuth\nsubjectAltName=DNS:${name}\n`);
  await run("openssl", ["req", "-new", "-key", key, "-subj", `/OU=node/CN=${name}`, "-out", request]);
  const issuer = ["-CA", ca.certFile, "-CAkey", ca.keyFile, "-days", "400", "-extfile", extensions];
  await run("openssl", ["x509", "-req", "-in", request, ...issuer, "-out", cert]);
  expect(new X509Certificate(await readFile(cert)).keyUsage).toHaveLength(1);
  expect(new X509Certificate((await issue(name, "node")).cert).keyUsage).toHaveLength(2);
});

test("a certificate of another authority, another name or a past time is refused", async () => {
  const node = await issue("node1.gannet.test", "node", ["127.0.0.1", "::1"]);
  const master = await issue("master.gannet.test", "master");
  const otherCa = await createCa({ dir: dirOf("other-ca") });
  const stranger = await issue("stranger.gannet.test", "master", [], otherCa);
  await expect(handshake({ server: node, client: stranger, name: "node1.gannet.test" })).rejects.toThrow(/UNABLE_TO_/);
  await expect(handshake({ server: node, client: master, name: "node2.gannet.test" })).rejects.toThrow(/altnames/);

  const expired = await expiredCertificate("old.gannet.test", "clientAuth");
  await expect(handshake({ server: node, client: expired, name: "node1.gannet.test" })).rejects.toThrow(
    /CERT_HAS_EXPIRED/,
  );
  await expect(loadIdentity(dirOf("expired"))).rejects.toThrow(/expired on/);
});

/** Signed by the cluster's authority with `openssl ca`, the one command that takes dates of the past. */
async function expiredCertificate(name: string, extendedKeyUsage: string): Promise<Identity> {
  const dir = dirOf("expired");
  await mkdir(dir);
  const config = path.join(dir, "ca.cnf");
  const text = `[ca]\ndefault_ca=it\n[it]\ndatabase=${dir}/index\nnew_certs_dir=${dir}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n[req]\ndistinguished_name=dn\n[dn]\n[ext]\nextendedKeyUsage=${extendedKeyUsage}\n`;
  await writeFile(config, text);
  await writeFile(path.join(dir, "index"), "");
  await run("openssl", [
    "req",
    "-new",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-config",
    config,
    "-subj",
    `/CN=${name}`,
    "-keyout",
    `${dir}/key.pem`,
    "-out",
    `${dir}/csr.pem`,
  ]);
  await run("openssl", [
    "ca",
    "-batch",
    "-config",
    config,
    "-extensions",
    "ext",
    "-cert",
    ca.certFile,
    "-keyfile",
    ca.keyFile,
    "-in",
    `${dir}/csr.pem`,
    "-out",
    `${dir}/cert.pem`,
    "-notext",
    "-startdate",
    "200101000000Z",
    "-enddate",
    "200201000000Z",
  ]);
  await writeFile(path.join(dir, "ca.pem"), await readFile(ca.certFile));
  return {
    ca: await readFile(ca.certFile),
    cert: await readFile(`${dir}/cert.pem`),
    key: await readFile(`${dir}/key.pem`),
  };
}

test("what is valid is kept, what changed is issued anew", async () => {
  const first = await issue("kept.gannet.test", "node", ["10.0.0.1", "fd00::1"]);
  expect(await issue("kept.gannet.test", "node", ["fd00:0::1", "10.0.0.1"])).toEqual(first);
  const renamed = await issue("kept.gannet.test", "node", ["10.0.0.2"]);
  expect(renamed.cert.equals(first.cert)).toBe(false);
  expect(new X509Certificate(renamed.cert).checkIP("10.0.0.2")).toBe("10.0.0.2");

  await rm(path.join(dirOf("kept.gannet.test-node"), "key.pem"));
  expect((await issue("kept.gannet.test", "node", ["10.0.0.2"])).cert.equals(renamed.cert)).toBe(false);
  expect(await createCa({ dir: path.join(root, "ca") })).toMatchObject({ certFile: ca.certFile });
  expect(new X509Certificate(await readFile(ca.certFile)).serialNumber).toBe(ca.certificate.serialNumber);
});

test("an authority that lost a part is an error, never replaced", async () => {
  const dir = dirOf("damaged-ca");
  await createCa({ dir });
  await rm(path.join(dir, "ca.pem"));
  await expect(createCa({ dir })).rejects.toThrow(/ca.pem is missing/);
  await writeFile(path.join(dir, "ca.pem"), await readFile(ca.certFile));
  await expect(createCa({ dir })).rejects.toThrow(/do not match/);
  await writeFile(path.join(dir, "ca.pem"), "nonsense");
  await expect(createCa({ dir })).rejects.toThrow(ConfigurationError);
});

test.each(["a/CN=b", "-x", "a b", "a\nextendedKeyUsage=clientAuth", "", "x".repeat(300), "a..b", "10.0.0.1"])(
  "the name %j is refused",
  async (name) => {
    const dir = dirOf("refused");
    await expect(issueCertificate({ ca, name, sans: [], usage: "node", dir })).rejects.toThrow(/not a host name/);
  },
);

test("a name longer than a common name may be is known by its alternative name", async () => {
  const name = `${"a".repeat(60)}.${"b".repeat(60)}.gannet.test`;
  const node = await issue(name, "node");
  expect(await issue(name, "node")).toEqual(node);
  await handshake({ server: node, client: await issue("master.gannet.test", "master"), name });
});

test("an identity of another name, and one with a missing part, cannot be loaded", async () => {
  await issue("named.gannet.test", "node");
  const dir = dirOf("named.gannet.test-node");
  await expect(loadIdentity(dir, { name: "other.gannet.test" })).rejects.toThrow(
    `The certificate in ${dir} cannot be used: it is for DNS:named.gannet.test, not for other.gannet.test`,
  );
  await rm(path.join(dir, "key.pem"));
  await expect(loadIdentity(dir)).rejects.toThrow(ConfigurationError);
});

test("nothing temporary is left, and what a killed run left goes", async () => {
  const dir = dirOf("tidy");
  await mkdir(path.join(dir, ".new-killed"), { recursive: true });
  await issueCertificate({ ca, name: "tidy.test", sans: [], usage: "rapi", dir });
  expect((await readdir(dir)).sort()).toEqual(["ca.pem", "cert.pem", "key.pem"]);
  expect((await readdir(root)).filter((name) => name.includes(".new-"))).toEqual([]);
});

test("a request is certified under the name that the signer gives, and only for a key that its sender has", async () => {
  const { key, csr } = await createSigningRequest();
  const subject = { name: "node7.gannet.test", sans: ["10.0.0.7"], usage: "redis" } as const;
  const { certificate, serial, notAfterMs } = await signRequest(ca, csr, subject);
  const read = new X509Certificate(certificate);
  expect(read.subject).toBe("OU=redis\nCN=node7.gannet.test");
  expect([fitsKey(read, key), read.serialNumber, read.validToDate.getTime()]).toEqual([true, serial, notAfterMs]);
  const foreign = path.join(root, "foreign.csr");
  const named = [
    "-subj",
    "/OU=master/CN=master",
    "-addext",
    "subjectAltName=DNS:master",
    "-addext",
    "basicConstraints=CA:TRUE",
  ];
  const newKey = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-384",
    "-nodes",
    "-keyout",
    path.join(root, "foreign.key"),
  ];
  await run("openssl", ["req", "-new", ...newKey, ...named, "-out", foreign]);
  const tamed = new X509Certificate((await signRequest(ca, await readFile(foreign, "utf8"), subject)).certificate);
  expect([tamed.subject, tamed.subjectAltName, tamed.ca]).toEqual([
    "OU=redis\nCN=node7.gannet.test",
    "DNS:node7.gannet.test, IP Address:10.0.0.7",
    false,
  ]);
  const der = Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----`;
  const weak = path.join(root, "weak.csr");
  await run("openssl", [
    "req",
    "-new",
    "-newkey",
    "rsa:1024",
    "-nodes",
    "-keyout",
    "/dev/null",
    "-subj",
    "/CN=x",
    "-out",
    weak,
  ]);
  for (const bad of [forged, "nonsense", "x".repeat(20_000), await readFile(weak, "utf8")])
    await expect(signRequest(ca, bad, subject)).rejects.toThrow(/signing request cannot be used/);
});

test("an authority with another kind of key, made elsewhere, issues what openssl accepts", async () => {
  for (const kind of ["ed25519", "ec"]) {
    const dir = dirOf(`authority-${kind}`);
    await mkdir(dir);
    const options = kind === "ec" ? ["-pkeyopt", "ec_paramgen_curve:P-384"] : [];
    const own = ["-x509", "-subj", "/CN=site", "-addext", "keyUsage=critical,keyCertSign", "-days", "3000"];
    const files = ["-keyout", path.join(dir, "ca.key"), "-out", path.join(dir, "ca.pem")];
    await run("openssl", ["req", "-newkey", kind, ...options, "-nodes", ...own, ...files]);
    const there = await createCa({ dir });
    const node = await issue(`${kind}.gannet.test`, "node", [], there);
    const cert = path.join(dirOf(`${kind}.gannet.test-node`), "cert.pem");
    await run("openssl", ["verify", "-x509_strict", "-CAfile", there.certFile, cert]);
    await handshake({ server: node, client: node, name: `${kind}.gannet.test` });
  }
});

test("while the authority changes an identity trusts both, and gets a certificate of the new one when that issues", async () => {
  const [before, next] = [await createCa({ dir: dirOf("ca-before") }), await createCa({ dir: dirOf("ca-next") })];
  const subject = { name: "both.gannet.test", sans: [], usage: "node", dir: dirOf("both") } as const;
  expect(await issueCertificate({ ...subject, ca: before })).toBe(true);
  const first = await loadIdentity(subject.dir);
  const trusted = String(next.certificate) + String(before.certificate);
  expect(await issueCertificate({ ...subject, ca: before, trusted })).toBe(true);
  expect((await loadIdentity(subject.dir)).cert.equals(first.cert)).toBe(true);
  // Who asks without naming the trusted ones leaves them as they are.
  expect(await issueCertificate({ ...subject, ca: before })).toBe(false);
  expect(await issueCertificate({ ...subject, ca: next })).toBe(true);
  const second = await loadIdentity(subject.dir);
  expect(second.ca.toString()).toBe(trusted);
  expect(new X509Certificate(second.cert).verify(next.certificate.publicKey)).toBe(true);
  const peer = await handshake({
    server: second,
    client: { ...first, ca: second.ca },
    name: subject.name,
    trusted: second,
  });
  expect(peer.subject).toMatchObject({ CN: subject.name });
});

test("an exchange of files that was stopped after it was decided goes on, and one that was not never happened", async () => {
  const dir = dirOf("stopped-node");
  const before = await issue("stopped", "node");
  const other = await issue("stopped-other", "node");
  await mkdir(path.join(dir, ".new-draft"));
  await writeFile(path.join(dir, ".new-draft", "key.pem"), other.key);
  expect(await loadIdentity(dir)).toEqual(before);
  // The key has been moved already, the certificate not yet.
  await mkdir(path.join(dir, ".next"));
  await writeFile(path.join(dir, "key.pem"), other.key);
  await writeFile(path.join(dir, ".next", "cert.pem"), other.cert);
  expect((await loadIdentity(dir)).cert.equals(other.cert)).toBe(true);
  expect(await readdir(dir)).not.toContain(".next");
});
