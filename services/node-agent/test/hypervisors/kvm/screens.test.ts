/** Consoles with a screen, as their clients find them: real qemu serving VNC and SPICE, with and without TLS. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect as connectTls } from "node:tls";
import type { GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS, type Parameters } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { bareGuest, eventually, freePort, makeTestNode, type TestNode } from "../node-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;
/** Security types of RFB: RFC 6143, 7.1.2, and for the last the registry it names. */
const [NONE, PASSWORD, VENCRYPT] = [1, 2, 19] as const;

let node: TestNode;
let driver: KvmHypervisor;
let base: string;
/** ca-cert.pem, server-cert.pem, server-key.pem, and spice.pem with the last two together. */
let certificates: string;

beforeAll(async () => {
  certificates = await mkdtemp(path.join(tmpdir(), "gannet-screens-"));
  node = await makeTestNode({
    kvmAcceleration: "off",
    spiceCertificate: {
      certFile: path.join(certificates, "spice.pem"),
      keyFile: path.join(certificates, "spice.pem"),
      caFile: path.join(certificates, "ca-cert.pem"),
    },
  });
  base = path.join(node.parts.stateDir, "kvm-hypervisor");
  await makeCertificates();
  driver = new KvmHypervisor(node.parts);
  await driver.recover();
});
afterEach(async () => {
  for (const { name } of await driver.list()) await driver.stop(name, FORCED, NEVER);
});
afterAll(async () => {
  await driver.close();
  await node.remove();
  await rm(certificates, { recursive: true, force: true });
});

function guestWith(params: Parameters, changes: Partial<GuestSpec> = {}): GuestSpec {
  return { ...bareGuest("web1.example", "kvm", { ...HYPERVISOR_DEFAULTS.kvm, ...params }), ...changes };
}

async function makeCertificates(): Promise<void> {
  const file = (name: string) => path.join(certificates, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch"];
  const openssl = (...args: string[]) =>
    node.parts.runner.run({ argv: ["/usr/bin/openssl", ...args], timeoutMs: 20_000 });
  await openssl(
    ...["req", "-x509", ...key, "-keyout", file("ca-key.pem"), "-out", file("ca-cert.pem"), "-subj", "/CN=ca"],
    ...["-addext", "keyUsage=critical,keyCertSign"],
  );
  await openssl("req", ...key, "-keyout", file("server-key.pem"), "-out", file("request"), "-subj", "/CN=screens");
  await writeFile(file("extensions"), "keyUsage=digitalSignature,keyEncipherment\n");
  await openssl(
    ...["x509", "-req", "-in", file("request"), "-out", file("server-cert.pem"), "-CAcreateserial"],
    ...["-CA", file("ca-cert.pem"), "-CAkey", file("ca-key.pem"), "-extfile", file("extensions")],
  );
  const [certificate, secret] = [await readFile(file("server-cert.pem")), await readFile(file("server-key.pem"))];
  await writeFile(file("spice.pem"), Buffer.concat([certificate, secret]), { mode: 0o600 });
}

/** That no list of processes and no record shows it. */
async function expectSecret(password: string): Promise<void> {
  expect((await node.processes()).map(({ command }) => command).join()).not.toContain(password);
  for (const name of await readdir(path.join(base, "conf"))) {
    expect(await readFile(path.join(base, "conf", name), "utf8")).not.toContain(password);
  }
}

describe("VNC", () => {
  it("listens on a socket in the folder given, and the socket goes with the guest", async () => {
    const folder = path.join(node.parts.stateDir, "vnc");
    await mkdir(folder);
    await writeFile(path.join(folder, "bystander"), "");
    const guest = guestWith({ vnc_bind_address: folder, serial_console: false });
    await driver.start(guest, RUNNING, NEVER);
    const socket = path.join(folder, "web1.example.vnc");
    expect(await driver.console(guest.name)).toEqual({ kind: "msg", message: expect.stringContaining(socket) });
    expect(await securityTypes({ path: socket })).toEqual([NONE]);
    await driver.stop(guest.name, FORCED, NEVER);
    expect(await readdir(folder)).toEqual(["bystander"]);
  });

  it("listens on the instance's port and asks for the password, which no command line shows", async () => {
    const password = "s3cr3t-8";
    const file = path.join(node.parts.stateDir, "vnc-password");
    await writeFile(file, `${password}\n`, { mode: 0o600 });
    const port = await freePort();
    const params = { vnc_bind_address: "lo", vnc_password_file: file, serial_console: false };
    const guest = guestWith(params, { networkPort: port });
    await driver.start(guest, RUNNING, NEVER);
    expect(await driver.console(guest.name)).toEqual({ kind: "vnc", port, display: port - 5900 });
    expect(await securityTypes({ port, host: "127.0.0.1" })).toEqual([PASSWORD]);
    await expectSecret(password);
  });

  it("is refused without a password in the password's file", async () => {
    const file = path.join(node.parts.stateDir, "empty-password");
    await writeFile(file, "\n");
    const params = { vnc_bind_address: "127.0.0.1", vnc_password_file: file };
    const guest = guestWith(params, { networkPort: await freePort() });
    await expect(driver.start(guest, RUNNING, NEVER)).rejects.toThrow(/vnc_password_file.* no password/);
    expect(await node.processes()).toEqual([]);
  });
});

describe("VNC over TLS", () => {
  it.each([
    ["without certificates", () => ({})],
    ["with the node's certificate", () => ({ vnc_x509_path: certificates })],
    ["with certificates of both sides", () => ({ vnc_x509_path: certificates, vnc_x509_verify: true })],
  ])("is all that is offered %s", async (_, params) => {
    const port = await freePort();
    const guest = guestWith({ vnc_bind_address: "127.0.0.1", vnc_tls: true, ...params() }, { networkPort: port });
    await driver.start(guest, RUNNING, NEVER);
    expect(await securityTypes({ port, host: "127.0.0.1" })).toEqual([VENCRYPT]);
  });

  it("is refused in qemu's words where the certificates are missing", async () => {
    const params = { vnc_bind_address: "127.0.0.1", vnc_tls: true, vnc_x509_path: node.parts.stateDir };
    const guest = guestWith(params, { networkPort: await freePort() });
    await expect(driver.start(guest, RUNNING, NEVER)).rejects.toThrow(/did not start: .*ca-cert\.pem/s);
    expect(await node.processes()).toEqual([]);
  });
});

describe("SPICE", () => {
  it("listens on the instance's port and asks for the password, which no command line shows", async () => {
    const password = "sp1cy-secret";
    const file = path.join(node.parts.stateDir, "spice-password");
    await writeFile(file, `${password}\n`, { mode: 0o600 });
    const port = await freePort();
    const params = { spice_bind: "lo", spice_password_file: file, serial_console: false, soundhw: "hda" };
    const guest = guestWith(params, { networkPort: port });
    await driver.start(guest, RUNNING, NEVER);
    expect(await driver.console(guest.name)).toEqual({ kind: "spice", port });
    expect(await spiceAnswers(port)).toBe(true);
    await expectSecret(password);
  });

  it("is encrypted by the node's certificate, with every other option set", async () => {
    const port = await freePort();
    const params = {
      spice_bind: "127.0.0.1",
      spice_ip_version: 4,
      spice_use_tls: true,
      spice_image_compression: "glz",
      spice_jpeg_wan_compression: "never",
      spice_zlib_glz_wan_compression: "always",
      spice_streaming_video: "filter",
      spice_playback_compression: false,
      spice_use_vdagent: false,
    };
    await driver.start(guestWith(params, { networkPort: port }), RUNNING, NEVER);
    const ca = await readFile(path.join(certificates, "ca-cert.pem"));
    const connection = connectTls({ port, host: "127.0.0.1", ca, checkServerIdentity: () => undefined });
    await new Promise((resolve, reject) => connection.once("secureConnect", resolve).once("error", reject));
    expect(connection.getPeerCertificate().subject.CN).toBe("screens");
    connection.destroy();
    expect(await spiceAnswers(port)).toBe(false);
  });

  it("is refused without a password in the password's file, and on an address of the wrong version", async () => {
    const file = path.join(node.parts.stateDir, "empty-password");
    await writeFile(file, "");
    const networkPort = await freePort();
    const without = guestWith({ spice_bind: "127.0.0.1", spice_password_file: file }, { networkPort });
    await expect(driver.start(without, RUNNING, NEVER)).rejects.toThrow(/spice_password_file.* no password/);
    const wrong = guestWith({ spice_bind: "127.0.0.1", spice_ip_version: 6 }, { networkPort });
    await expect(driver.validate(wrong)).rejects.toThrow(/127\.0\.0\.1 is no IPv6 address/);
    expect(await node.processes()).toEqual([]);
  });
});

/** Whether a SPICE server answers a link message in the clear (its protocol's RedLinkMess and reply, magic `REDQ`). */
async function spiceAnswers(port: number): Promise<boolean> {
  const connection = createConnection({ port, host: "127.0.0.1" });
  const message = Buffer.alloc(16 + 18);
  message.write("REDQ");
  // Version 2.2; then the length of what follows: connection id, kind of channel (1, main), no capabilities.
  for (const [index, word] of [2, 2, 18].entries()) message.writeUInt32LE(word, 4 + 4 * index);
  message.writeUInt8(1, 16 + 4);
  message.writeUInt32LE(18, 16 + 14);
  const answer = new Promise<boolean>((resolve) => {
    connection.once("data", (chunk: Buffer) => resolve(chunk.subarray(0, 4).toString() === "REDQ"));
    connection.once("close", () => resolve(false));
    connection.once("error", () => resolve(false));
  });
  connection.write(message);
  return answer.finally(() => connection.destroy());
}

/** What an RFB server offers. */
async function securityTypes(address: { path: string } | { port: number; host: string }): Promise<readonly number[]> {
  const connection = createConnection(address as { path: string });
  const chunks: Buffer[] = [];
  connection.on("data", (chunk: Buffer) => chunks.push(chunk));
  connection.write("RFB 003.008\n");
  const answer = await eventually(async () => {
    const bytes = Buffer.concat(chunks);
    return bytes.length > 13 && bytes.length >= 13 + (bytes[12] ?? 0) && bytes;
  });
  connection.destroy();
  return [...answer.subarray(13)];
}
