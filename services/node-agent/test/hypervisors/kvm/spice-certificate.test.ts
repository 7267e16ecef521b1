/** Which certificate SPICE connections get: the site's, or one of the node's own. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect } from "node:tls";
import { HypervisorError } from "@gannet/errors";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, expect, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { SpiceCertificates } from "../../../src/hypervisors/kvm/spice-certificate.ts";
import { bareGuest, freePort, makeTestNode } from "../node-fixture.ts";

const NEVER = new AbortController().signal;
const logger = silentLogger();

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-spice-"));
});
afterEach(() => rm(folder, { recursive: true }));

const inFolder = (name: string) => path.join(folder, name);
/** Where a site may have put its own. */
const site = () => ({
  certFile: inFolder("spice.pem"),
  keyFile: inFolder("spice.pem"),
  caFile: inFolder("spice-ca.pem"),
});
const certificates = (configured?: ReturnType<typeof site>) =>
  new SpiceCertificates({
    ...{ configured, system: site(), folder: inFolder("own/certificate") },
    ...{ nodeName: "node1.gannet.test", logger },
  });

it("the site's is taken where it is", async () => {
  for (const name of ["spice.pem", "spice-ca.pem"]) await writeFile(inFolder(name), "");
  expect(await certificates().find()).toEqual(site());
});

it("without any, the node makes one and keeps it", async () => {
  const first = await certificates().find();
  for (const file of [first.certFile, first.keyFile]) expect((await stat(file)).mode & 0o777).toBe(0o600);
  const pem = await readFile(first.certFile, "utf8");
  const again = certificates();
  expect(await Promise.all([again.find(), again.find()])).toEqual([first, first]);
  expect(await readFile(first.certFile, "utf8")).toBe(pem);
});

it("what is half there, or was asked for and is not, is named with the way out", async () => {
  const asked = certificates(site()).find();
  await expect(asked).rejects.toThrow(HypervisorError);
  await expect(asked).rejects.toThrow(/spice_use_tls: .*spice\.pem cannot be read; put the certificate/);
  await writeFile(inFolder("spice.pem"), "");
  await expect(certificates().find()).rejects.toThrow(/spice-ca\.pem cannot be read; .*or remove .*makes its own/);
});

it("a guest's SPICE is encrypted by the node's own", async () => {
  const node = await makeTestNode({ kvmAcceleration: "off", nodeName: "node1.gannet.test" });
  const driver = new KvmHypervisor(node.parts);
  try {
    await driver.recover();
    const port = await freePort();
    const params = { ...HYPERVISOR_DEFAULTS.kvm, spice_bind: "127.0.0.1", spice_use_tls: true };
    const guest = { ...bareGuest("web1.example", "kvm", params), networkPort: port };
    await driver.start(guest, { paused: false }, NEVER);
    const cert = path.join(node.parts.stateDir, "kvm-hypervisor/spice-certificate/cert.pem");
    const socket = connect({ host: "127.0.0.1", port, ca: await readFile(cert), servername: "node1.gannet.test" });
    const isTrusted = await new Promise<boolean>((resolve, reject) => {
      socket.once("secureConnect", () => resolve(socket.authorized));
      socket.once("error", reject);
    });
    socket.destroy();
    expect(isTrusted).toBe(true);
    await driver.stop(guest.name, { force: true, timeoutMs: 0 }, NEVER);
  } finally {
    await driver.close();
    await node.remove();
  }
});
