/** What is known of a guest by what its monitor says, and how often it is asked. */
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, describe, expect, it } from "vitest";
import { GuestMonitor } from "../../../src/hypervisors/kvm/guest-monitor.ts";
import { identifyProcess } from "../../../src/hypervisors/process-identity.ts";
import { bareGuest, eventually } from "../node-fixture.ts";
import { type ScriptedMonitor, send, startScriptedMonitor } from "./scripted-monitor.ts";

let qemu: ScriptedMonitor | undefined;
let monitor: GuestMonitor | undefined;
/** What the scripted qemu answers to `query-status`. */
let runState = "running";
/** As announced. */
let changes: string[] = [];

afterEach(async () => {
  monitor?.close();
  await qemu?.[Symbol.asyncDispose]();
});

async function follow(): Promise<{ readonly monitor: GuestMonitor; readonly qemu: ScriptedMonitor }> {
  changes = [];
  const answers: Readonly<Record<string, () => unknown>> = {
    "query-status": () => ({ status: runState, running: runState === "running" }),
    "query-cpus-fast": () => [{ "cpu-index": 0, "thread-id": 1 }],
    "query-balloon": () => ({ actual: 32 * 1024 * 1024 }),
  };
  qemu = await startScriptedMonitor({
    answer: ({ execute, id }, connection) => send(connection, { return: answers[execute]?.() ?? {}, id }),
  });
  // This process stands for qemu's: one that lives.
  const process_ = await identifyProcess(process.pid);
  if (process_ === undefined) throw new Error("this process is not there");
  monitor = new GuestMonitor({
    isNew: false,
    guest: bareGuest("web1.example", "kvm", HYPERVISOR_DEFAULTS.kvm),
    process: process_,
    qmpSocket: qemu.socketPath,
    logger: silentLogger(),
    onChange: () => changes.push(monitor?.status ?? "unknown"),
    onEnd: () => {},
  });
  await monitor.refreshed();
  return { monitor, qemu };
}

const OWN = { guest: true, reason: "guest-shutdown" };

describe("a guest's end", () => {
  it.each([
    ["its own wish", [["SHUTDOWN", OWN]], "shutdown"],
    ["its own wish, a reboot that ends it", [["SHUTDOWN", { guest: true, reason: "guest-reset" }]], "shutdown"],
    [
      "a power button that somebody pressed",
      [
        ["POWERDOWN", {}],
        ["SHUTDOWN", OWN],
      ],
      "crashed",
    ],
    [
      "its own wish, long after a power button that it did not obey",
      [
        ["POWERDOWN", {}],
        ["RESET", { guest: true, reason: "guest-reset" }],
        ["SHUTDOWN", OWN],
      ],
      "shutdown",
    ],
    ["a signal from the node", [["SHUTDOWN", { guest: false, reason: "host-signal" }]], "crashed"],
    ["its kernel's panic", [["SHUTDOWN", { guest: true, reason: "guest-panic" }]], "crashed"],
    ["nothing that was announced", [], "crashed"],
    [
      "its own wish, whatever ends its qemu afterwards",
      [
        ["SHUTDOWN", OWN],
        ["SHUTDOWN", { guest: false, reason: "host-qmp-quit" }],
      ],
      "shutdown",
    ],
  ] as const)("by %s", async (_, events, expected) => {
    runState = "running";
    const { monitor, qemu } = await follow();
    const [connection] = qemu.connections;
    if (connection === undefined) throw new Error("nobody has connected");
    for (const [event, data] of events) send(connection, { event, data, timestamp: {} });
    // Answered after the events before it.
    await monitor.execute({ name: "query-uuid" }).catch(() => {});
    expect(monitor.endStatus).toBe(expected);
  });

  it("that came while no agent looked is told by its qemu, which then may go", async () => {
    runState = "shutdown";
    const { monitor, qemu } = await follow();
    await eventually(async () => qemu.requests.some(({ execute }) => execute === "quit"));
    expect(monitor.endStatus).toBe("shutdown");
    expect(monitor.status).toBe("shutdown");
  });
});

describe("a guest that stops", () => {
  const tell = (qemu: ScriptedMonitor, event: string, data: object = {}) => {
    const [connection] = qemu.connections;
    if (connection === undefined) throw new Error("nobody has connected");
    send(connection, { event, data, timestamp: {} });
  };
  const askedSince = (qemu: ScriptedMonitor, from: number) => qemu.requests.slice(from).map(({ execute }) => execute);

  it("for the last part of its migration is known to, without a question or an announcement", async () => {
    runState = "running";
    const { monitor, qemu } = await follow();
    const from = qemu.requests.length;
    tell(qemu, "STOP");
    for (const status of ["device", "completed"]) tell(qemu, "MIGRATION", { status });
    await eventually(async () => monitor.status === "paused");
    tell(qemu, "RESUME");
    await eventually(async () => monitor.status === "running");
    expect(askedSince(qemu, from)).toEqual(["query-status"]);
    expect(changes).toEqual([]);
  });

  it.each(["paused", "io-error"])("for longer, as %s, is announced once, and the guest goes on", async (state) => {
    runState = "running";
    const { qemu } = await follow();
    runState = state;
    tell(qemu, "STOP");
    await eventually(async () => changes.length > 0);
    runState = "running";
    tell(qemu, "RESUME");
    await eventually(async () => changes.at(-1) === "running");
    expect(changes).toEqual(["paused", "running"]);
  });

  it("in a panic is known to have crashed, though no other event follows", async () => {
    runState = "running";
    const { monitor, qemu } = await follow();
    runState = "guest-panicked";
    tell(qemu, "STOP");
    await eventually(async () => monitor.status === "crashed");
  });

  it("since it has shut down is let go at once", async () => {
    runState = "running";
    const { monitor, qemu } = await follow();
    const from = qemu.requests.length;
    runState = "shutdown";
    tell(qemu, "SHUTDOWN", OWN);
    tell(qemu, "STOP");
    await eventually(async () => qemu.requests.some(({ execute }) => execute === "quit"));
    expect(askedSince(qemu, from)).toEqual(["query-status", "quit"]);
    expect(monitor.status).toBe("shutdown");
  });
});
