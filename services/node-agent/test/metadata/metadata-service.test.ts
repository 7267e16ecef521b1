/** What guests are answered over HTTP, each from an address of its own. */
import { once } from "node:events";
import { mkdir, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import path from "node:path";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { GuestMetadata } from "../../src/metadata/guest-metadata.ts";
import { MetadataService, type MetadataServiceParts } from "../../src/metadata/metadata-service.ts";
import { guestState, ScriptedHypervisor } from "../agent-fixture.ts";
import { type OsFixture, osFixture } from "../os/os-fixture.ts";
import { ADDRESSES, ask, SERVICE_ADDRESS, say } from "./guest-requests.ts";

const [WEB_ADDRESS, DB_ADDRESS, STRANGER] = ADDRESSES;
const PARAMETERS = "/ganeti/latest/os/parameters.json";

let os: OsFixture;
let hypervisor: ScriptedHypervisor;
let service: MetadataService;
let port: number;
let folder: string;
let packageFolder: string;

beforeEach(async () => {
  os = await osFixture();
  folder = path.join(os.base, "metadata");
  packageFolder = path.join(os.base, "packages");
  await mkdir(packageFolder);
  hypervisor = new ScriptedHypervisor();
  await start();
});
afterEach(async () => {
  await service.close();
  await os.close();
});

async function start(changes: Partial<MetadataServiceParts> = {}): Promise<void> {
  service = await MetadataService.start({
    ...{ address: SERVICE_ADDRESS, port: 0, folder, packageFolder, os: os.definitions(), logger: silentLogger() },
    hypervisors: new Map([["fake", hypervisor]]),
    claimAddress: async (address) => {
      throw new Error(`${address} is there already`);
    },
    ...changes,
  });
  port = service.port ?? 0;
}

function guest(changes: Partial<GuestMetadata> = {}): GuestMetadata {
  const { name, uuid } = guestState("web1.gannet.test");
  const parameters = { publicParameters: { dhcp: "yes" }, privateParameters: { password: "whisper" } };
  return { name, uuid, hypervisor: "fake", address: WEB_ADDRESS, os: "debian+minimal", ...parameters, ...changes };
}

const DB = guest({ name: "db1.gannet.test", address: DB_ADDRESS, publicParameters: {}, privateParameters: {} });

async function run(...guests: readonly GuestMetadata[]): Promise<void> {
  for (const each of guests) {
    hypervisor.guests.set(each.name, guestState(each.name, { uuid: each.uuid }));
    await service.guests.set(each.name, each);
  }
}

describe("a guest", () => {
  it("reads its own OS parameters with who may see them, and nobody else's", async () => {
    await run(guest(), DB);
    const own = await ask(port, WEB_ADDRESS, PARAMETERS);
    expect(own).toMatchObject({ status: 200, headers: { "content-type": "application/json" } });
    expect(JSON.parse(own.body)).toEqual({ dhcp: ["yes", "public"], password: ["whisper", "private"] });
    expect((await ask(port, DB_ADDRESS, PARAMETERS)).body).toBe("{}");
    expect(await ask(port, STRANGER, PARAMETERS)).toMatchObject({ status: 404 });
  });

  it("reads who it is, and finds what Ganeti leaves empty", async () => {
    await run(guest(), DB);
    const { body } = await ask(port, DB_ADDRESS, "/ganeti/latest/meta_data.json?pretty");
    expect(JSON.parse(body)).toEqual({ uuid: DB.uuid, name: DB.name, hostname: DB.name });
    expect(await ask(port, WEB_ADDRESS, "/ganeti/latest/read")).toMatchObject({ status: 200, body: "" });
    const written = await ask(port, WEB_ADDRESS, "/ganeti/latest/write", { method: "POST", body: "done" });
    expect(written).toMatchObject({ status: 200, body: "" });
  });

  it("reads the scripts of its OS definition and no other file of it", async () => {
    await os.define("debian", { create: "#!/bin/sh\necho made\n" });
    await os.define("inside", { create: null, create_untrusted: "#!/bin/sh\necho inside\n" });
    await run(guest(), { ...DB, os: "inside" });
    const script = (name: string) => ask(port, WEB_ADDRESS, `/ganeti/latest/os/scripts/${name}`);
    expect(await script("create")).toMatchObject({ status: 200, body: "#!/bin/sh\necho made\n" });
    for (const name of ["import", "export", "rename", "verify"]) expect((await script(name)).status).toBe(200);
    for (const name of ["parameters.list", "../debian/create", "", "constructor"])
      expect((await script(name)).status, name).toBe(404);
    expect((await ask(port, DB_ADDRESS, "/ganeti/latest/os/scripts/create")).body).toContain("echo inside");
    await run(guest({ os: "gone" }));
    expect((await script("create")).status).toBe(404);
  });

  it("reads the package that a parameter names, where it lies below the folder of packages", async () => {
    await writeFile(path.join(packageFolder, "base.tar"), "packed");
    await writeFile(path.join(packageFolder, "empty.tar"), "");
    await writeFile(path.join(os.base, "secret"), "of the node");
    await symlink(path.join(os.base, "secret"), path.join(packageFolder, "link"));
    const found = async (name: string) => {
      await run(guest({ publicParameters: { "os-package": name } }));
      const { status, body } = await ask(port, WEB_ADDRESS, "/ganeti/latest/os/package");
      return status === 200 ? body : status;
    };
    expect(await found("base.tar")).toBe("packed");
    expect(await found(path.join(packageFolder, "base.tar"))).toBe("packed");
    const head = await ask(port, WEB_ADDRESS, "/ganeti/latest/os/package", { method: "HEAD" });
    expect(head).toMatchObject({ status: 200, headers: { "content-length": "6" }, body: "" });
    expect(await found("empty.tar")).toBe("");
    for (const name of ["", ".", "missing.tar", "link", "../secret", "/etc/passwd", "base.tar/x"])
      expect(await found(name), name).toBe(404);
    expect((await ask(port, WEB_ADDRESS, "/ganeti/latest/os/os-install-package")).status).toBe(404);
  });

  it("is told nothing once it has gone, and its address's next owner nothing of it", async () => {
    await run(guest(), DB);
    await service.guests.set(DB.name, undefined);
    expect((await ask(port, DB_ADDRESS, PARAMETERS)).status).toBe(404);
    hypervisor.notice(guest().name, guestState(guest().name, { status: "shutdown" }));
    await vi.waitFor(async () => expect(await readdir(folder)).toEqual([]));
    expect((await ask(port, WEB_ADDRESS, PARAMETERS)).status).toBe(404);
    await run(guest(), { ...DB, address: WEB_ADDRESS });
    expect((await ask(port, WEB_ADDRESS, PARAMETERS)).body).toBe("{}");
    expect(await readdir(folder), "of the guest that had it nothing is left").toEqual([`${DB.name}.json`]);
  });

  it("is known after the agent's restart while it runs, from a file that only the agent reads", async () => {
    await run(guest(), DB);
    expect((await stat(path.join(folder, `${guest().name}.json`))).mode & 0o777).toBe(0o600);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await service.close();
    hypervisor.guests.delete(DB.name);
    await start();
    expect((await ask(port, WEB_ADDRESS, PARAMETERS)).body).toContain("whisper");
    expect((await ask(port, DB_ADDRESS, PARAMETERS)).status).toBe(404);
    expect(await readdir(folder)).toEqual([`${guest().name}.json`]);
  });
});

describe("the service", () => {
  it("listens on its one address", async () => {
    const elsewhere = connect({ host: "127.0.0.1", port });
    const [error] = await once(elsewhere, "error");
    expect(error).toMatchObject({ code: "ECONNREFUSED" });
  });

  it.each([
    ["POST", PARAMETERS, "GET, HEAD"],
    ["DELETE", "/ganeti/latest/read", "GET, HEAD"],
    ["GET", "/ganeti/latest/write", "POST"],
  ])("refuses %s of %s", async (method, place, allow) => {
    await run(guest());
    expect(await ask(port, WEB_ADDRESS, place, { method })).toMatchObject({ status: 405, headers: { allow } });
  });

  it("knows no other paths", async () => {
    await run(guest());
    for (const place of ["/", "/latest/meta-data", "/ganeti/1/read", "//ganeti/latest/read", "/ganeti/latest/read/"])
      expect((await ask(port, WEB_ADDRESS, place)).status, place).toBe(404);
  });

  it("takes no large body and no large head", async () => {
    await service.close();
    await start({ limits: { bodyBytes: 100, headerBytes: 2048 } });
    await run(guest());
    const write = (bytes: number) =>
      ask(port, WEB_ADDRESS, "/ganeti/latest/write", { method: "POST", body: "x".repeat(bytes) });
    expect((await write(100)).status).toBe(200);
    expect((await write(101)).status).toBe(413);
    expect(await say(port, WEB_ADDRESS, `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(3000)}\r\n\r\n`)).toContain(
      " 431 ",
    );
  });

  it("waits for no slow request", async () => {
    await service.close();
    await start({ limits: { headersMs: 100, requestMs: 200, idleMs: 300 } });
    await run(guest());
    expect(await say(port, WEB_ADDRESS, "GET /ganeti/la")).toContain(" 408 ");
    const unfinished = "POST /ganeti/latest/write HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf";
    expect(await say(port, WEB_ADDRESS, unfinished)).not.toContain(" 200 ");
    expect(await say(port, WEB_ADDRESS, ""), "a connection that says nothing is ended, too").not.toContain(" 200 ");
  });

  it("is not taken up by the connections of one guest", async () => {
    await service.close();
    await start({ limits: { connectionsOfOneAddress: 2 } });
    await run(guest(), DB);
    const open = () => connect({ host: SERVICE_ADDRESS, port, localAddress: WEB_ADDRESS });
    const held = [open(), open()];
    for (const socket of held) await once(socket, "connect");
    const one = open();
    await once(one, "close");
    expect((await ask(port, DB_ADDRESS, PARAMETERS)).status).toBe(200);
    for (const socket of held) socket.destroy();
    await vi.waitFor(async () => expect((await ask(port, WEB_ADDRESS, PARAMETERS)).status).toBe(200));
  });

  it("claims its address where the node has it not, and lets the agent run where that fails", async () => {
    await service.close();
    const claimAddress = vi.fn(async () => {
      throw new Error("not permitted");
    });
    // Of a network for documentation (RFC 5737), which no machine has.
    await start({ address: "192.0.2.254", claimAddress });
    expect(claimAddress).toHaveBeenCalledExactlyOnceWith("192.0.2.254");
    expect(service.port).toBeUndefined();
  });
});
