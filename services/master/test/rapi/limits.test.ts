/** What clients may not do to the server: too much, too slow, malformed, or in the wrong version of TLS. */
import { once } from "node:events";
import { get as plainGet } from "node:http";
import { createConnection } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_BODY_BYTES } from "../../src/rapi/request-body.ts";
import { basicAuth, type RapiTestbed, SERVER_NAME, startRapiTestbed } from "./rapi-testbed.ts";

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed({ limits: { headersMs: 400, requestMs: 800 } });
});
afterAll(() => bed[Symbol.asyncDispose]());

const STARTUP = "/2/instances/inst1.gnt.test/startup";
const lines = (...all: string[]) => `${all.join("\r\n")}\r\n\r\n`;
const put = (...headers: string[]) =>
  lines(`PUT ${STARTUP} HTTP/1.1`, "Host: x", `Authorization: ${basicAuth("admin")}`, ...headers);

describe("bodies", () => {
  const json = { "Content-Type": "application/json" };

  test("the largest one is read, one byte more is refused", async () => {
    const text = (bytes: number) => JSON.stringify("x".repeat(bytes - 2));
    const largest = await bed.call("PUT", STARTUP, { raw: text(MAX_BODY_BYTES), headers: json });
    expect(largest.json).toMatchObject({ code: 400, message: "The body must be a JSON object" });
    const larger = await bed.call("PUT", STARTUP, { raw: text(MAX_BODY_BYTES + 1), headers: json });
    expect(larger.json).toMatchObject({ code: 413, explain: "Entity is too large" });
    expect(larger.headers.connection).toBe("close");
  });

  test("one that hides its size is refused when it is too large", async () => {
    const chunk = `100000\r\n${"x".repeat(0x100000)}\r\n`;
    const reply = await bed.exchange(
      put("Content-Type: application/json", "Transfer-Encoding: chunked") + chunk.repeat(11),
    );
    expect(reply.status).toBe(413);
  });

  test.for([
    ["no UTF-8", Buffer.from([0x22, 0xff, 0xfe, 0x22]), "Unable to parse JSON data"],
    ["a byte order mark", "\ufeff{}", "Unable to parse JSON data"],
    ["cut off", '{"force": tr', "Unable to parse JSON data"],
    ["two values", "{}{}", "Unable to parse JSON data"],
    ["nested deeply", "[".repeat(100_000) + "]".repeat(100_000), "JSON data is nested deeper than 32 levels"],
    [
      "nested a little too deeply",
      `${'{"a":'.repeat(33)}1${"}".repeat(33)}`,
      "JSON data is nested deeper than 32 levels",
    ],
    ["a prototype", '{"hvparams": {"__proto__": {"polluted": true}}}', 'There is no parameter named "__proto__"'],
  ] as const)("that are %s are refused", async ([_label, raw, message]) => {
    const reply = await bed.call("PUT", STARTUP, { raw, headers: json });
    expect(reply.json).toMatchObject({ code: 400, message });
    expect({}).not.toHaveProperty("polluted");
  });

  test("null, an empty one of any type, and an empty chunked one count as none", async () => {
    for (const call of [
      { raw: "null", headers: json },
      { raw: "", headers: json },
      { raw: "", headers: { "Content-Type": "text/plain" } },
    ])
      expect((await bed.call("PUT", STARTUP, call)).status).toBe(200);
    expect((await bed.exchange(`${put("Transfer-Encoding: chunked", "Connection: close")}0\r\n\r\n`)).status).toBe(200);
  });

  test("are only sent after 100 Continue when the client waits for it, and not when they are refused", async () => {
    const socket = await bed.connect();
    const expecting = ["Content-Type: application/json", "Expect: 100-continue", "Content-Length: 2"];
    socket.write(put(...expecting, "Connection: close"));
    const [go] = await once(socket, "data");
    expect(String(go)).toMatch(/^HTTP\/1\.1 100 /);
    socket.write("{}");
    const [answer] = await once(socket, "data");
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);

    const large = ["Content-Type: application/json", "Expect: 100-continue", "Content-Length: 11000000"];
    expect((await bed.exchange(put(...large))).status).toBe(413);
    const stranger = lines(`PUT ${STARTUP} HTTP/1.1`, "Host: x", ...expecting);
    expect((await bed.exchange(stranger)).status).toBe(401);
  });
});

describe("slow and broken clients", () => {
  test("that say nothing at all are told so and cut", async () => {
    expect((await bed.exchange("")).json).toMatchObject({ code: 408 });
  });

  test("that do not finish their headers are told so and cut", async () => {
    expect((await bed.exchange("GET /version HTTP/1.1\r\nHost:")).json).toMatchObject({ code: 408 });
  });

  test("that do not finish their body are told so and cut", async () => {
    const head = put("Content-Type: application/json", "Content-Length: 100");
    expect((await bed.exchange(`${head}{"force":`)).json).toMatchObject({ code: 408 });
  });

  test("that do not finish their TLS handshake are cut", async () => {
    const socket = createConnection(bed.server.address.port, "127.0.0.1");
    await once(socket, "connect");
    socket.resume();
    await once(socket, "close");
  });

  test("that go away in the middle of a body harm nobody", async () => {
    const socket = await bed.connect();
    socket.write(`${put("Content-Type: application/json", "Content-Length: 100")}{`);
    await delay(20);
    socket.destroy();
    expect((await bed.get("/version")).json).toBe(2);
  });

  test("are refused headers beyond their bound", async () => {
    const reply = await bed.exchange(lines("GET /version HTTP/1.1", "Host: x", `X-Long: ${"x".repeat(20_000)}`));
    expect(reply.json).toMatchObject({ code: 431 });
  });

  test.for([
    ["two lengths", put("Content-Length: 2", "Content-Length: 3")],
    ["a length and chunks", put("Content-Length: 2", "Transfer-Encoding: chunked")],
    ["a negative length", put("Content-Length: -1")],
    ["no host", lines("GET /version HTTP/1.1")],
    ["a NUL in a header", lines("GET /version HTTP/1.1", "Host: x\0y")],
    ["no HTTP at all", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
  ] as const)("are refused %s", async ([_label, bytes]) => {
    expect((await bed.exchange(bytes)).status).toBe(400);
  });
});

describe("connections", () => {
  test("are kept for the next request", async () => {
    const socket = await bed.connect();
    const get = (path: string) => lines(`GET ${path} HTTP/1.1`, "Host: x", `Authorization: ${basicAuth("admin")}`);
    socket.write(get("/version") + get("/nosuch"));
    let text = "";
    while (!text.includes('"Nothing matches the given URI"')) text += String((await once(socket, "data"))[0]);
    expect(text).toMatch(/^HTTP\/1\.1 200 OK.*\r\n\r\n2\nHTTP\/1\.1 404 /s);
    socket.write(get("/version"));
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });

  test("are taken on the given address only", async () => {
    const elsewhere = createConnection(bed.server.address.port, "127.0.0.2");
    await expect(once(elsewhere, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("speak TLS 1.2 and 1.3, nothing older and nothing plain", async () => {
    const { port } = bed.server.address;
    const versionOf = async (version: "TLSv1.1" | "TLSv1.2" | "TLSv1.3") => {
      const options = { minVersion: version, maxVersion: version, ca: bed.identity.ca, servername: SERVER_NAME };
      // The client's own bound is lifted, so that it is the server that refuses.
      const socket = connectTls({ host: "127.0.0.1", port, ...options, ciphers: "DEFAULT@SECLEVEL=0" });
      await once(socket, "secureConnect");
      const protocol = socket.getProtocol();
      socket.destroy();
      return protocol;
    };
    expect(await versionOf("TLSv1.2")).toBe("TLSv1.2");
    expect(await versionOf("TLSv1.3")).toBe("TLSv1.3");
    await expect(versionOf("TLSv1.1")).rejects.toMatchObject({ code: expect.stringContaining("PROTOCOL_VERSION") });
    const plain = plainGet({ host: "127.0.0.1", port, path: "/version" });
    await expect(once(plain, "response")).rejects.toThrow();
  });
});
