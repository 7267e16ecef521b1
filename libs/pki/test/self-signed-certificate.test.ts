import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createSelfSignedCertificate } from "../src/index.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-self-signed-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("is its owner's alone, for both sides of a connection, and ends", async () => {
  const dir = path.join(folder, "first");
  const pem = await createSelfSignedCertificate({ commonName: "node1.test", validitySeconds: 3600, dir });
  const certificate = new X509Certificate(pem);
  expect(certificate.subject).toBe("CN=node1.test");
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  expect(certificate.ca).toBe(false);
  expect(certificate.checkHost("node1.test")).toBe("node1.test");
  expect(certificate.validToDate.getTime() - Date.now()).toBeLessThanOrEqual(DAY_MS);
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
  expect((await stat(path.join(dir, "key.pem"))).mode & 0o777).toBe(0o600);
  expect(await readFile(path.join(dir, "cert.pem"), "utf8")).toBe(pem);
  expect(await readdir(folder)).toEqual(["first"]);
});

test("of an owner with a name too long for X.509 has it as an alternative name", async () => {
  const name = `${"x".repeat(60)}.${"y".repeat(60)}.test`;
  const dir = path.join(folder, "long");
  const pem = await createSelfSignedCertificate({ commonName: name, validitySeconds: 60, dir });
  expect(new X509Certificate(pem).checkHost(name)).toBe(name);
});
