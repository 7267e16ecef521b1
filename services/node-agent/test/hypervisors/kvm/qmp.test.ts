import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { silentLogger } from "@gannet/telemetry";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { QmpClient, type QmpClientOptions } from "../../../src/hypervisors/kvm/qmp/client.ts";
import type { QmpEvent } from "../../../src/hypervisors/kvm/qmp/events.ts";
import { LineFramer } from "../../../src/hypervisors/kvm/qmp/line-framer.ts";
import { parseQmpMessage } from "../../../src/hypervisors/kvm/qmp/message.ts";
import { GREETING, type MonitorScript, send, startScriptedMonitor } from "./scripted-monitor.ts";

describe("framing", () => {
  it("gives the same lines however the bytes are cut", () => {
    const line = fc
      .string({ unit: "grapheme", minLength: 1 })
      .filter((text) => !/[\r\n]/.test(text) && text.trim() === text);
    fc.assert(
      fc.property(fc.array(line), fc.integer({ min: 1, max: 7 }), (lines, size) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\r\n`).join(""));
        const framer = new LineFramer();
        const found: string[] = [];
        for (let at = 0; at < bytes.length; at += size) found.push(...framer.push(bytes.subarray(at, at + size)));
        expect(found).toEqual(lines);
      }),
    );
  });

  it("keeps no line that grows without end", () => {
    const framer = new LineFramer(10);
    expect(framer.push(Buffer.from("12345\n123456789"))).toEqual(["12345"]);
    expect(() => framer.push(Buffer.from("01"))).toThrow(/more than 10 characters/);
    expect(() => new LineFramer(10).push(Buffer.from("12345678901\n"))).toThrow(/more than 10 characters/);
  });
});

describe("messages", () => {
  it.each([
    [GREETING, { kind: "greeting", version: { major: 7, minor: 2, micro: 22 } }],
    [
      {
        timestamp: { seconds: 1, microseconds: 2 },
        event: "SHUTDOWN",
        data: { guest: true, reason: "guest-shutdown" },
      },
      { kind: "event", event: "SHUTDOWN", data: { guest: true, reason: "guest-shutdown" } },
    ],
    [
      { timestamp: {}, event: "STOP" },
      { kind: "event", event: "STOP", data: {} },
    ],
    [
      { return: {}, id: 4 },
      { kind: "return", id: 4, value: {} },
    ],
    [
      { id: 5, error: { class: "GenericError", desc: "no" } },
      { kind: "error", id: 5, class: "GenericError", description: "no" },
    ],
    [
      { error: { class: "GenericError", desc: "JSON parse error" } },
      { kind: "error", class: "GenericError", description: "JSON parse error" },
    ],
  ])("%j", (sent, expected) => {
    expect(parseQmpMessage(JSON.stringify(sent))).toEqual(expected);
  });

  it.each(["", "{", "[]", "null", "7", "{}", '{"QMP":{}}', '{"event":7}', '{"error":"x","id":1}'])(
    "%j is none",
    (line) => {
      expect(() => parseQmpMessage(line)).toThrow(expect.objectContaining({ name: "HypervisorError" }));
    },
  );

  it("of any kind of garbage are refused, never misread", () => {
    fc.assert(
      fc.property(fc.json(), (line) => {
        try {
          expect(parseQmpMessage(line).kind).toMatch(/greeting|event|return|error/);
        } catch (error) {
          expect(error).toMatchObject({ name: "HypervisorError" });
        }
      }),
    );
  });
});

/** A client of a scripted monitor, with what it reported. */
async function connect(script: MonitorScript, options: Partial<QmpClientOptions> = {}) {
  const monitor = await startScriptedMonitor(script);
  const events: QmpEvent[] = [];
  const onConnect = vi.fn();
  const onGone = vi.fn();
  const client = new QmpClient({
    socketPath: monitor.socketPath,
    logger: silentLogger(),
    targetLives: async () => true,
    onEvent: (event) => events.push(event),
    onConnect,
    onGone,
    firstRetryMs: 5,
    longestRetryMs: 20,
    ...options,
  });
  return {
    monitor,
    client,
    events,
    onConnect,
    onGone,
    async [Symbol.asyncDispose]() {
      client.close();
      await monitor[Symbol.asyncDispose]();
    },
  };
}

describe("the client", () => {
  it("negotiates, then asks with its arguments and gets the answer", async () => {
    await using test = await connect({
      answer: (request, connection) => send(connection, { return: { actual: 1024 }, id: request.id }),
    });
    expect(await test.client.execute({ name: "query-balloon" })).toEqual({ actual: 1024 });
    await test.client.execute({ name: "balloon", arguments: { value: 512 } });
    expect(test.monitor.requests.map(({ execute, arguments: args }) => [execute, args])).toEqual([
      ["qmp_capabilities", undefined],
      ["query-balloon", undefined],
      ["balloon", { value: 512 }],
    ]);
  });

  it("gives each answer to who asked, in whatever order answers come and however they are cut", async () => {
    const waiting: string[] = [];
    await using test = await connect({
      answer: (request, connection) => {
        waiting.unshift(`${JSON.stringify({ return: { name: `guest-${request.id}` }, id: request.id })}\r\n`);
        if (waiting.length < 3) return;
        const bytes = Buffer.from(`\r\n${waiting.join("")}`);
        for (let at = 0; at < bytes.length; at += 5) connection.write(bytes.subarray(at, at + 5));
      },
    });
    const answers = await Promise.all([1, 2, 3].map(() => test.client.execute({ name: "query-name" })));
    expect(answers).toEqual([{ name: "guest-2" }, { name: "guest-3" }, { name: "guest-4" }]);
  });

  it("passes known events on, typed, and survives unknown ones", async () => {
    await using test = await connect({
      answer: (request, connection) => {
        send(connection, { event: "SHUTDOWN", data: { guest: true, reason: "guest-shutdown" }, timestamp: {} });
        send(connection, { event: "NEVER_HEARD_OF", data: 7, timestamp: {} });
        send(connection, { event: "BALLOON_CHANGE", data: "malformed", timestamp: {} });
        send(connection, { return: {}, id: request.id });
      },
    });
    await test.client.execute({ name: "cont" });
    expect(test.events).toEqual([{ name: "SHUTDOWN", data: { guest: true, reason: "guest-shutdown" } }]);
  });

  it("turns a refusal into a HypervisorError with qemu's words", async () => {
    await using test = await connect({
      answer: (request, connection) =>
        send(connection, { error: { class: "DeviceNotActive", desc: "No balloon device" }, id: request.id }),
    });
    await expect(test.client.execute({ name: "query-balloon" })).rejects.toMatchObject({
      name: "HypervisorError",
      message: expect.stringContaining("DeviceNotActive): No balloon device"),
    });
  });

  it("refuses an answer of another form", async () => {
    await using test = await connect({
      answer: (request, connection) => send(connection, { return: { actual: "much" }, id: request.id }),
    });
    await expect(test.client.execute({ name: "query-balloon" })).rejects.toThrow(/unknown form/);
  });

  it("gives up on an answer that does not come, and is not confused when it comes late", async () => {
    let first: (() => void) | undefined;
    await using test = await connect({
      answer: (request, connection) => {
        if (first === undefined) first = () => send(connection, { return: { name: "late" }, id: request.id });
        else {
          first();
          send(connection, { return: { name: "second" }, id: request.id });
        }
      },
    });
    await expect(test.client.execute({ name: "query-name" }, { timeoutMs: 50 })).rejects.toThrow(
      /did not answer query-name/,
    );
    expect(await test.client.execute({ name: "query-name" })).toEqual({ name: "second" });
    expect(test.monitor.connections).toHaveLength(1);
  });

  it.each([
    ["a line that is no JSON", (connection: Socket) => connection.write("HTTP/1.1 200 OK\r\n")],
    ["a message of no known kind", (connection: Socket) => connection.write('{"hello":1}\r\n')],
    ["an endless line", (connection: Socket) => connection.write("x".repeat(5 * 1024 * 1024))],
    [
      "an answer to what it could not read",
      (connection: Socket) => send(connection, { error: { class: "GenericError", desc: "?" } }),
    ],
    ["half a line and the end", (connection: Socket) => connection.end('{"return": {')],
    ["nothing but the end", (connection: Socket) => connection.destroy()],
  ])("fails the command and connects anew after %s", async (_, misbehave) => {
    let misbehaved = false;
    await using test = await connect({
      answer: (request, connection) => {
        if (misbehaved) return send(connection, { return: { name: "web1" }, id: request.id });
        misbehaved = true;
        misbehave(connection);
      },
    });
    await expect(test.client.execute({ name: "query-name" })).rejects.toMatchObject({ name: "HypervisorError" });
    expect(await test.client.execute({ name: "query-name" })).toEqual({ name: "web1" });
    expect(test.onConnect).toHaveBeenCalledTimes(2);
    expect(test.onGone).not.toHaveBeenCalled();
  });

  it("waits for a monitor that comes late, and connects again when it is back", async () => {
    await using test = await connect({});
    await test.client.execute({ name: "stop" });
    await test.monitor.down();
    await expect(test.client.execute({ name: "stop" }, { timeoutMs: 50 })).rejects.toMatchObject({
      name: "HypervisorError",
    });
    const waiting = test.client.execute({ name: "cont" });
    await test.monitor.up();
    await expect(waiting).resolves.toBeUndefined();
  });

  it("does not wait for ever for a greeting, as when another client holds the monitor", async () => {
    const logger = silentLogger();
    let greets = false;
    await using test = await connect(
      { greet: (connection) => greets && send(connection, GREETING) },
      { openTimeoutMs: 30, logger },
    );
    await vi.waitFor(() => expect(test.monitor.connections.length).toBeGreaterThan(1));
    greets = true;
    await expect(test.client.execute({ name: "stop" })).resolves.toBeUndefined();
  });

  it("ends, and says so once, when its qemu is gone", async () => {
    let lives = true;
    await using test = await connect({}, { targetLives: async () => lives });
    await test.client.execute({ name: "stop" });
    lives = false;
    await test.monitor.down();
    await vi.waitFor(() => expect(test.onGone).toHaveBeenCalledTimes(1));
    await expect(test.client.execute({ name: "stop" })).rejects.toThrow(/is gone/);
  });

  it("lets go of everything when it is closed", async () => {
    await using test = await connect({ answer: () => {} });
    const waiting = test.client.execute({ name: "query-name" });
    waiting.catch(() => {});
    await vi.waitFor(() => expect(test.monitor.requests).toHaveLength(2));
    const over = new Promise((resolve) => test.monitor.connections[0]?.once("close", resolve));
    test.client.close();
    await expect(waiting).rejects.toMatchObject({ name: "HypervisorError" });
    await over;
    await expect(test.client.execute({ name: "query-name" })).rejects.toThrow(/was closed/);
    expect(test.onGone).not.toHaveBeenCalled();
  });

  it("that is closed while it opens a file to be handed over fails once, and nowhere else", async () => {
    await using test = await connect({}, { passesDescriptors: true });
    await test.client.execute({ name: "stop" });
    const fifo = `${test.monitor.socketPath}.fifo`;
    execFileSync("mkfifo", [fifo]);
    const waiting = test.client.execute({ name: "add-fd" }, { enclosed: { path: fifo, access: "ro" } });
    waiting.catch(() => {});
    const over = new Promise((resolve) => test.monitor.connections[0]?.once("close", resolve));
    test.client.close();
    await over;
    await writeFile(fifo, "");
    await expect(waiting).rejects.toMatchObject({ name: "HypervisorError" });
  });
});
