import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import path from "node:path";
import { promisify } from "node:util";
import { OpPrereqError } from "@gannet/errors";
import { createCommandRunner, endLeftoverCommands } from "@gannet/exec";
import { createSelfSignedCertificate } from "@gannet/pki";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { createTransfers } from "../../src/transfers/create-transfers.ts";
import type { TransferEnd } from "../../src/transfers/transfers.ts";
import {
  all,
  connect,
  diskEnd,
  leftovers,
  listenPort,
  outcome,
  processesOf,
  request,
  sameContents,
  type TransferFixture,
  transferFixture,
} from "./transfer-fixture.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();
const execute = promisify(execFile);

let nodes: TransferFixture;
beforeAll(async () => {
  nodes = await transferFixture();
});
afterAll(() => nodes.close());
afterEach(async () => {
  expect([...(await leftovers(nodes.source)), ...(await leftovers(nodes.target))]).toEqual([]);
});

describe("disk to disk", () => {
  test.each(["none", "gzip", "gzip-fast", "gzip-slow", "zstd"])("compressed by %s, with a magic", async (compress) => {
    const [from, to] = [await nodes.disk("from", 5), await nodes.disk("to", 6, "empty")];
    const options = { compress, magic: "magic-1.2_3" };
    const { importName, exportName } = await connect(
      nodes.source,
      nodes.target,
      { source: diskEnd(from, 5), target: diskEnd(to, 5) },
      { source: options, target: options },
    );
    const states = [await outcome(nodes.source, exportName), await outcome(nodes.target, importName)];
    for (const state of states)
      expect(state).toMatchObject({
        ...{ connected: true, over: true, problem: "", transferredMib: 5, percent: 100, recentOutput: [] },
        mibPerSecond: expect.any(Number),
      });
    expect(states[1]?.listenPort).toBeGreaterThan(0);
    const written = await readFile(to);
    expect(written.length).toBe(6 * MIB);
    expect(written.subarray(0, 5 * MIB).equals(await readFile(from))).toBe(true);
    await nodes.source.transfers.end([exportName]);
    await expect(all(nodes.source.transfers.follow([exportName], signal))).rejects.toMatchObject({
      code: "unknown_entity",
    });
  });

  test("a device that is longer than its disk is sent whole, and a file takes all of it", async () => {
    const [from, to] = [await nodes.disk("from", 8), await nodes.disk("to", 5, "empty")];
    const names = await connect(nodes.source, nodes.target, { source: diskEnd(from, 5), target: diskEnd(to, 5) });
    for (const state of [await outcome(nodes.source, names.exportName), await outcome(nodes.target, names.importName)])
      expect(state).toMatchObject({ problem: "", transferredMib: 8 });
    expect((await readFile(to)).equals(await readFile(from))).toBe(true);
  });

  test("contents of a qcow2 image are sent and received as they are", async () => {
    const [from, to] = [await nodes.disk("from", 4), await nodes.disk("to", 4, "empty")];
    const image = path.join(nodes.base, "image.qcow2");
    await execute("/usr/bin/qemu-img", ["create", "-q", "-f", "qcow2", image, "4M"]);
    const imageEnd: TransferEnd = { kind: "disk", disk: { path: image, kind: "file", format: "qcow2" }, sizeMib: 4 };
    for (const ends of [
      { source: diskEnd(from, 4), target: imageEnd },
      { source: imageEnd, target: diskEnd(to, 4) },
    ]) {
      const { importName, exportName } = await connect(nodes.source, nodes.target, ends);
      expect((await outcome(nodes.source, exportName)).problem).toBe("");
      expect((await outcome(nodes.target, importName)).problem).toBe("");
    }
    expect(await sameContents(from, to)).toBe(true);
    expect((await readFile(image)).subarray(0, 4).toString("latin1")).toBe("QFI\xfb");

    // One that is ended in the middle leaves nothing beside the image.
    const importName = await nodes.target.transfers.startImport({ ...request(imageEnd), address: "127.0.0.1" }, signal);
    await nodes.target.transfers.end([importName]);
    expect((await readdir(nodes.base)).filter((name) => name.includes("contents-"))).toEqual([]);
  });

  test("over IPv6, each end with a key of its own that the other was told of", async () => {
    const [from, to] = [await nodes.disk("from", 2), await nodes.disk("to", 2, "empty")];
    const own = await nodes.source.transfers.createCertificate(3600);
    const other = await nodes.target.transfers.createCertificate(3600);
    const importName = await nodes.target.transfers.startImport(
      {
        ...request(diskEnd(to, 2), {
          ...{ ipv6: true, keyName: other.name },
          // As Ganeti sends it.
          peerCertificatePem: `X-Ganeti-Signature: salt/0123\n${own.pem}`,
        }),
        address: "::1",
      },
      signal,
    );
    const keyFile = path.join(nodes.target.stateDir, "transfer-keys", other.name, "key.pem");
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
    const [folder = ""] = await readdir(path.join(nodes.target.stateDir, "transfers"));
    const peerFile = path.join(nodes.target.stateDir, "transfers", folder, "peer.pem");
    expect((await stat(peerFile)).mode & 0o777).toBe(0o600);
    const exportName = await nodes.source.transfers.startExport(
      {
        ...request(diskEnd(from, 2), { ipv6: true, keyName: own.name, peerCertificatePem: other.pem }),
        ...{ host: "::1", port: await listenPort(nodes.target, importName) },
      },
      signal,
    );
    expect((await outcome(nodes.source, exportName)).problem).toBe("");
    expect((await outcome(nodes.target, importName)).problem).toBe("");
    expect(await sameContents(from, to)).toBe(true);
    await nodes.source.transfers.removeCertificate(own.name);
    await nodes.source.transfers.removeCertificate(own.name);
    await nodes.target.transfers.removeCertificate(other.name);
    expect(await readdir(path.join(nodes.source.stateDir, "transfer-keys"))).toEqual([]);
  });

  test("followers are told at once, at each change, and how far it is while it goes", async () => {
    const to = await nodes.disk("to", 1, "empty");
    const importName = await nodes.target.transfers.startImport(
      { ...request(diskEnd(to, 64)), address: "127.0.0.1" },
      signal,
    );
    const seen = all(nodes.target.transfers.follow([importName], signal));
    // A sender that pauses: half, then the rest once half was seen.
    const socat = spawn("/usr/bin/socat", [
      "-u",
      "stdin",
      `OPENSSL:127.0.0.1:${await listenPort(nodes.target, importName)},verify=1,no-sni,openssl-commonname=,${[
        "key",
        "cert",
        "ca",
      ]
        .map((part) => `${part === "ca" ? "cafile" : part}=${nodes.source.pkiDir}/${part}.pem`)
        .join(",")}`,
    ]);
    socat.stdin.write(Buffer.alloc(32 * MIB));
    for await (const [state] of nodes.target.transfers.follow([importName], signal))
      if ((state?.transferredMib ?? 0) >= 31) break;
    socat.stdin.end(Buffer.alloc(32 * MIB));
    expect((await outcome(nodes.target, importName)).problem).toBe("");
    const states = (await seen).map(([state]) => state);
    expect(states[0]).toMatchObject({ connected: false, over: false, transferredMib: 0 });
    const half = states.find((state) => (state?.percent ?? 0) >= 49 && (state?.percent ?? 0) <= 51);
    expect(half).toMatchObject({ connected: true, over: false });
    expect(half?.mibPerSecond).toBeGreaterThan(0);
    expect(half?.estimatedSeconds).toBeGreaterThan(0);
    expect(states.at(-1)).toMatchObject({ over: true, percent: 100, estimatedSeconds: 0 });
  });
});

describe("a real Ganeti's end", () => {
  // The commands that Ganeti's import-export daemon builds (spec/node-ops.json, import_export_daemon), in its shell.
  const bash = (command: string) => execute("/bin/bash", ["-o", "errexit", "-o", "pipefail", "-c", command]);
  const common =
    "keepalive,keepidle=60,keepintvl=10,keepcnt=5,verify=1,cipher=HIGH:-DES:-3DES:-EXPORT:-DH,compress=none";
  const files = (dir: string, peer: string) => `key=${dir}/key.pem,cert=${dir}/cert.pem,cafile=${peer}`;

  test("sends to ours", async () => {
    const [from, to] = [await nodes.disk("from", 3), await nodes.disk("to", 3, "empty")];
    const dir = path.join(nodes.base, "ganeti-sender");
    const pem = await createSelfSignedCertificate({ commonName: "old.test", validitySeconds: 600, dir });
    const own = await nodes.target.transfers.createCertificate(600);
    await writeFile(path.join(nodes.base, "ours.pem"), own.pem);
    const options = { compress: "gzip", magic: "ganeti-magic", keyName: own.name, peerCertificatePem: pem };
    const name = await nodes.target.transfers.startImport(
      { ...request(diskEnd(to, 3), options), address: "127.0.0.1" },
      signal,
    );
    const port = await listenPort(nodes.target, name);
    await bash(
      `dd bs=1048576 if=${from} 2>/dev/null | { echo -E -n M=ganeti-magic; dd bs=1048576 2>/dev/null; } | gzip -1 -c | ` +
        `socat -ls -d -d -b1048576 -u stdin OPENSSL:127.0.0.1:${port},connect-timeout=20,retry=10,intervall=1,${common},` +
        `${files(dir, path.join(nodes.base, "ours.pem"))},openssl-commonname=node2.gannet.test,pf=ipv4`,
    );
    expect((await outcome(nodes.target, name)).problem).toBe("");
    expect(await sameContents(from, to)).toBe(true);
    await nodes.target.transfers.removeCertificate(own.name);
  });

  test("receives from ours", async () => {
    const [from, to] = [await nodes.disk("from", 3), path.join(nodes.base, "received")];
    const dir = path.join(nodes.base, "ganeti-receiver");
    const pem = await createSelfSignedCertificate({ commonName: "old.test", validitySeconds: 600, dir });
    const own = await nodes.source.transfers.createCertificate(600);
    await writeFile(path.join(nodes.base, "ours.pem"), own.pem);
    const log = path.join(nodes.base, "receiver.log");
    const receiving = bash(
      `socat -ls -d -d -b1048576 -u OPENSSL-LISTEN:0,reuseaddr,forever,intervall=0.01,${common},` +
        `${files(dir, path.join(nodes.base, "ours.pem"))},bind=127.0.0.1,pf=ipv4 stdout 2>${log} | gzip -d -c | ` +
        `{ read -n 14 magic; [ "$magic" = M=ganeti-magic ]; dd bs=1048576 2>/dev/null; } > ${to}`,
    );
    const port = await vi.waitFor(async () => {
      const [, found] = /listening on .*:(\d+)$/m.exec(await readFile(log, "utf8")) ?? [];
      expect(found).toBeDefined();
      return Number(found);
    }, 5_000);
    const options = { compress: "gzip", magic: "ganeti-magic", keyName: own.name, peerCertificatePem: pem };
    const name = await nodes.source.transfers.startExport(
      { ...request(diskEnd(from, 3), options), host: "127.0.0.1", port },
      signal,
    );
    expect((await outcome(nodes.source, name)).problem).toBe("");
    await receiving;
    expect(await sameContents(from, to)).toBe(true);
    await nodes.source.transfers.removeCertificate(own.name);
  });
});

describe("what goes wrong", () => {
  const refused = (problem: string) => expect(problem).toMatch(/within 2 s|certificate verify failed|unknown ca/);

  test("an end with a wrong certificate gets nothing and sends nothing", async () => {
    const { source, target } = nodes;
    const [from, to] = [await nodes.disk("from", 3), await nodes.disk("to", 3, "empty")];
    const stranger = await source.transfers.createCertificate(600);
    const ends = { source: diskEnd(from, 3), target: diskEnd(to, 3) };
    const patience = { connectTimeoutSeconds: 2 };
    // One that the receiver does not know, then one that does not know the receiver.
    for (const options of [{ keyName: stranger.name }, { peerCertificatePem: stranger.pem }]) {
      const names = await connect(source, target, ends, { source: { ...options, ...patience }, target: patience });
      const sent = await outcome(source, names.exportName);
      refused(sent.problem);
      expect(sent.connected).toBe(false);
      expect(sent.recentOutput).toEqual([]);
      const received = await outcome(target, names.importName);
      expect(received).toMatchObject({ connected: false, transferredMib: 0 });
      expect(received.problem).toBe("Both ends have not found each other within 2 s");
    }
    expect((await readFile(to)).equals(Buffer.alloc(3 * MIB))).toBe(true);
    await source.transfers.removeCertificate(stranger.name);
  });

  test("a certificate of the cluster's authority, such as a removed node has, is not enough for a key of its own", async () => {
    const { source, target } = nodes;
    const [from, to] = [await nodes.disk("from", 1), await nodes.disk("to", 1, "empty")];
    const own = await source.transfers.createCertificate(3600);
    const other = await target.transfers.createCertificate(3600);
    const ends = { source: diskEnd(from, 1), target: diskEnd(to, 1) };
    const patience = { connectTimeoutSeconds: 2 };
    const listening = { keyName: other.name, peerCertificatePem: own.pem };
    const removed = await connect(source, target, ends, {
      ...{ source: { ...patience, peerCertificatePem: other.pem }, target: { ...patience, ...listening } },
    });
    refused((await outcome(source, removed.exportName)).problem);
    expect(await outcome(target, removed.importName)).toMatchObject({ connected: false, transferredMib: 0 });
    const right = { keyName: own.name, peerCertificatePem: other.pem };
    const names = await connect(source, target, ends, { source: right, target: listening });
    expect((await outcome(source, names.exportName)).problem).toBe("");
    expect((await outcome(target, names.importName)).problem).toBe("");
    expect(await sameContents(from, to)).toBe(true);
    await source.transfers.removeCertificate(own.name);
    await target.transfers.removeCertificate(other.name);
  });

  test("a stranger that connects does not disturb the import", async () => {
    const [from, to] = [await nodes.disk("from", 1), await nodes.disk("to", 1, "empty")];
    const name = await nodes.target.transfers.startImport({ ...request(diskEnd(to, 1)), address: "127.0.0.1" }, signal);
    const port = await listenPort(nodes.target, name);
    const stranger = connectTcp(port, "127.0.0.1").on("error", () => {});
    stranger.end("GET / HTTP/1.0\r\n\r\n");
    await once(stranger, "connect");
    const sent = await nodes.source.transfers.startExport(
      { ...request(diskEnd(from, 1)), host: "127.0.0.1", port },
      signal,
    );
    expect((await outcome(nodes.source, sent)).problem).toBe("");
    expect((await outcome(nodes.target, name)).problem).toBe("");
    stranger.destroy();
    expect(await sameContents(from, to)).toBe(true);
  });

  test.each(["none", "gzip"])("a wrong magic writes nothing (%s)", async (compress) => {
    const [from, to] = [await nodes.disk("from", 2), await nodes.disk("to", 2, "empty")];
    const names = await connect(
      nodes.source,
      nodes.target,
      { source: diskEnd(from, 2), target: diskEnd(to, 2) },
      { source: { compress, magic: "wrong-magic" }, target: { compress, magic: "right-magic" } },
    );
    expect((await outcome(nodes.target, names.importName)).problem).toBe("The sender's magic is not this transfer's");
    await outcome(nodes.source, names.exportName);
    expect((await readFile(to)).equals(Buffer.alloc(2 * MIB))).toBe(true);
  });

  test("a connection that is cut fails both ends", async () => {
    const [from, to] = [await nodes.disk("from", 30), await nodes.disk("to", 30, "empty")];
    const { source, target } = nodes;
    const name = await target.transfers.startImport({ ...request(diskEnd(to, 30)), address: "127.0.0.1" }, signal);
    const port = await listenPort(target, name);
    // In between, after some of it has passed, both connections are reset.
    const proxy = createServer((incoming: Socket) => {
      const outgoing = connectTcp(port, "127.0.0.1");
      let passed = 0;
      incoming.on("data", (chunk: Buffer) => {
        passed += chunk.length;
        if (passed < 5 * MIB) outgoing.write(chunk);
        else for (const socket of [incoming, outgoing]) socket.resetAndDestroy();
      });
      outgoing.on("data", (chunk) => incoming.write(chunk));
      for (const socket of [incoming, outgoing]) socket.on("error", () => {});
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const { port: proxyPort } = proxy.address() as { port: number };
    const sent = await source.transfers.startExport(
      { ...request(diskEnd(from, 30)), host: "127.0.0.1", port: proxyPort },
      signal,
    );
    expect((await outcome(source, sent)).problem).toMatch(/socat .* failed/);
    expect((await outcome(target, name)).problem).toMatch(/socat .* failed with exit code 1: .*reset/s);
    proxy.close();
  });

  test("a full target ends both sides, and the message tells why", async () => {
    const from = await nodes.disk("from", 3);
    const names = await connect(nodes.source, nodes.target, {
      source: diskEnd(from, 3),
      target: diskEnd("/dev/full", 3),
    });
    expect((await outcome(nodes.target, names.importName)).problem).toMatch(
      /dd .*of=\/dev\/full.* failed with exit code 1: .*No space left on device/s,
    );
    expect((await outcome(nodes.source, names.exportName)).over).toBe(true);
  });

  test("a disk that is not there is not made", async () => {
    const from = await nodes.disk("from", 1);
    const missing = path.join(nodes.base, "missing");
    const names = await connect(nodes.source, nodes.target, { source: diskEnd(from, 1), target: diskEnd(missing, 1) });
    expect((await outcome(nodes.target, names.importName)).problem).toMatch(/No such file or directory/);
    await outcome(nodes.source, names.exportName);
    expect(await readdir(nodes.base)).not.toContain("missing");
  });

  test("nobody listens at the other end", async () => {
    const from = await nodes.disk("from", 1);
    const name = await nodes.source.transfers.startExport(
      { ...request(diskEnd(from, 1), { connectTimeoutSeconds: 2 }), host: "127.0.0.1", port: 1 },
      signal,
    );
    expect((await outcome(nodes.source, name)).problem).toBe("Both ends have not found each other within 2 s");
  });

  test.each([
    ["a compression tool that is missing", { compress: "xz9000" }, {}, /xz9000 is not installed on this node/],
    ["a compression tool that is a path", { compress: "../bin/sh" }, {}, /not the name of a compression tool/],
    ["a magic that a shell would expand", { magic: "$(id) ;" }, {}, /magic is 5 to 100 letters/],
    ["a certificate that is none", { peerCertificatePem: "hello" }, {}, /certificate cannot be read/],
    ["a key that is not there", { keyName: "x509-0000000000000000" }, {}, /has no certificate x509-0/],
    ["a key outside its folder", { keyName: "../pki" }, {}, /is not the name of a certificate/],
    ["a component that is a path", {}, { component: "../x" }, /cannot name a transfer/],
    ["an address with options of socat", {}, { address: "127.0.0.1,fork" }, /is no address of this node/],
  ])("%s is refused and leaves nothing", async (_what, options, changes, message) => {
    const to = await nodes.disk("to", 1, "empty");
    const asked = { ...request(diskEnd(to, 1), options), address: "127.0.0.1", ...changes };
    const failing = nodes.target.transfers.startImport(asked, signal);
    await expect(failing).rejects.toThrow(OpPrereqError);
    await expect(failing).rejects.toThrow(message);
  });

  test("an address that is not this node's, and an image that is none", async () => {
    const to = await nodes.disk("to", 1, "empty");
    await expect(
      nodes.target.transfers.startImport({ ...request(diskEnd(to, 1)), address: "192.0.2.1" }, signal),
    ).rejects.toThrow(/192.0.2.1" is no address of this node/);
    const qcow2: TransferEnd = { kind: "disk", disk: { path: to, kind: "file", format: "qcow2" }, sizeMib: 1 };
    await expect(
      nodes.target.transfers.startImport({ ...request(qcow2), address: "127.0.0.1" }, signal),
    ).rejects.toThrow(/is no qcow2 image/);
  });
});

describe("ends", () => {
  test("on request, with all of its programs, whoever follows it is told", async () => {
    const { source, target } = nodes;
    // Nobody reads: the sender stands still.
    const pipe = path.join(nodes.base, "fifo");
    await execute("/usr/bin/mkfifo", [pipe]);
    await using _reader = await open(pipe, "r+");
    const from = await nodes.disk("from", 20);
    const names = await connect(source, target, { source: diskEnd(from, 20), target: diskEnd(pipe, 20) });
    await vi.waitFor(async () => expect(await processesOf(nodes.base)).toHaveLength(4), 5_000);
    const told = [outcome(source, names.exportName), outcome(target, names.importName)];
    await source.transfers.end([names.exportName, "export-unknown"]);
    await target.transfers.end([names.importName]);
    expect(await processesOf(nodes.base)).toEqual([]);
    for (const state of await Promise.all(told)) expect(state).toMatchObject({ over: true });
    expect((await Promise.all(told)).map(({ problem }) => problem)).toContain("It was ended on request");
  });

  test("a start that is given up leaves nothing", async () => {
    const to = await nodes.disk("to", 1, "empty");
    const asked = { ...request(diskEnd(to, 1)), address: "127.0.0.1" };
    await expect(nodes.target.transfers.startImport(asked, AbortSignal.abort())).rejects.toThrow();
    expect(await processesOf(nodes.base)).toEqual([]);
  });

  test("when the agent is stopped", async () => {
    const other = await transferFixture();
    const to = await other.disk("to", 1, "empty");
    const name = await other.target.transfers.startImport({ ...request(diskEnd(to, 1)), address: "127.0.0.1" }, signal);
    const told = outcome(other.target, name);
    await other.target.transfers.close();
    expect((await told).problem).toBe("The agent was stopped");
    expect(await leftovers(other.target)).toEqual([]);
    expect(await processesOf(other.base)).toEqual([]);
    await other.close();
  });

  test("of an agent that was killed are ended and cleaned up at its next start; keys stay while they are valid", async () => {
    const other = await transferFixture();
    const { stateDir, pkiDir, exportDir, os, records } = other.target;
    const to = await other.disk("to", 1, "empty");
    const kept = await other.target.transfers.createCertificate(3600);
    await mkdir(path.join(stateDir, "transfer-keys", "x509-half-made"));
    const code = `
      import { createCommandRunner } from ${JSON.stringify(path.resolve(import.meta.dirname, "../../../../libs/exec/src/index.ts"))};
      import { createTransfers } from ${JSON.stringify(path.resolve(import.meta.dirname, "../../src/transfers/create-transfers.ts"))};
      const logger = { debug() {}, info() {}, warn() {}, error() {} };
      const runner = createCommandRunner({ logger, recordFolder: ${JSON.stringify(records)} });
      const dirs = ${JSON.stringify({ stateDir, pkiDir, exportDir })};
      const transfers = await createTransfers({ nodeName: "node2.gannet.test", ...dirs, os: {}, runner, logger });
      const asked = ${JSON.stringify({ ...request(diskEnd(to, 1)), address: "127.0.0.1" })};
      console.log(await transfers.startImport(asked, new AbortController().signal));`;
    const agent = spawn(process.execPath, ["--input-type=module", "-e", code], { cwd: import.meta.dirname });
    await once(agent.stdout, "data");
    agent.kill("SIGKILL");
    await once(agent, "exit");
    expect((await processesOf(other.base)).length).toBeGreaterThan(0);
    expect((await leftovers(other.target)).length).toBeGreaterThan(0);

    await endLeftoverCommands(records, silentLogger());
    const runner = createCommandRunner({ logger: silentLogger(), recordFolder: records });
    const next = await createTransfers({
      ...{ nodeName: "node2.gannet.test", stateDir, pkiDir, exportDir, os, runner },
      logger: silentLogger(),
    });
    expect(await processesOf(other.base)).toEqual([]);
    expect(await leftovers(other.target)).toEqual([]);
    expect(await readdir(path.join(stateDir, "transfer-keys"))).toEqual([kept.name]);
    await next.close();
    await other.close();
  });
});
