/** The remote API's certificate is replaced under running clients. */
import { once } from "node:events";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { createSelfSignedCertificate } from "@gannet/pki";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { TlsFiles } from "../../src/rapi/tls-files.ts";
import { type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

let bed: RapiTestbed;
let folder: string;
let files: TlsFiles;
const logger = silentLogger();
const report = vi.spyOn(logger, "error");
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  bed = await startRapiTestbed();
  folder = await mkdtemp(join(tmpdir(), "gannet-tls-"));
  for (const commonName of ["first", "second"])
    await createSelfSignedCertificate({ commonName, validitySeconds: 3600, dir: at(commonName) });
  await writeFile(at("cert.pem"), bed.identity.cert);
  await writeFile(at("key.pem"), bed.identity.key);
  files = new TlsFiles(
    {
      ...{ certificateFile: at("cert.pem"), keyFile: at("key.pem"), logger },
      onChange: (tls) => bed.server.setTls(tls),
    },
    bed.identity,
  );
  files.start();
});
afterAll(async () => {
  files.stop();
  await bed[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function shownName(): Promise<unknown> {
  const socket = connect({ host: "127.0.0.1", port: bed.server.address.port, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN;
}

test("a pair that fits is shown to new connections, and open ones go on", async () => {
  await bed.get("/2/info");
  await rename(at("first/cert.pem"), at("cert.pem"));
  await rename(at("first/key.pem"), at("key.pem"));
  await vi.waitFor(async () => expect(await shownName()).toBe("first"), 5_000);
  // Its connection is from before; a new one would not trust the certificate.
  expect((await bed.get("/2/info")).status).toBe(200);
});

test("a pair that does not fit is refused, once, and the old one stays until it does", async () => {
  report.mockClear();
  await rename(at("second/cert.pem"), at("cert.pem"));
  await vi.waitFor(() => expect(report).toHaveBeenCalledTimes(1), 5_000);
  expect(await shownName()).toBe("first");
  await files.refresh();
  expect(report).toHaveBeenCalledTimes(1);
  await writeFile(at("cert.pem"), "nonsense");
  await files.refresh();
  expect(await shownName()).toBe("first");
  await createSelfSignedCertificate({ commonName: "third", validitySeconds: 3600, dir: at("third") });
  await rename(at("third/key.pem"), at("key.pem"));
  await rename(at("third/cert.pem"), at("cert.pem"));
  await vi.waitFor(async () => expect(await shownName()).toBe("third"), 5_000);
});
