/** What a master shows to Redis follows its files. */
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCa, issueCertificate } from "@gannet/pki";
import { expect, test } from "vitest";
import { redisClientTls } from "../../src/membership/redis-client-tls.ts";

test("a new certificate is shown when it is there with its key, and never half of a pair", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-redis-tls-"));
  try {
    const ca = await createCa({ dir: path.join(folder, "ca") });
    const issue = (dir: string) =>
      issueCertificate({ ca, name: "redis.test", sans: [], usage: "redis", dir: path.join(folder, dir) });
    await issue("used");
    await issue("next");
    const at = (dir: string, name: string) => path.join(folder, dir, name);
    const files = {
      redisCaFile: at("used", "ca.pem"),
      redisCertificateFile: at("used", "cert.pem"),
      redisKeyFile: at("used", "key.pem"),
    };
    const shown = redisClientTls(files);
    const text = (dir: string, name: string) => readFile(at(dir, name), "utf8");
    const first = { cert: await text("used", "cert.pem"), key: await text("used", "key.pem") };
    expect(shown()).toEqual({ ca: await text("used", "ca.pem"), certificate: first });
    await copyFile(at("next", "key.pem"), files.redisKeyFile);
    expect(shown().certificate).toEqual(first);
    await rm(files.redisCertificateFile);
    expect(shown().certificate).toEqual(first);
    await copyFile(at("next", "cert.pem"), files.redisCertificateFile);
    expect(shown().certificate).toEqual({ cert: await text("next", "cert.pem"), key: await text("next", "key.pem") });
  } finally {
    await rm(folder, { recursive: true });
  }
});
