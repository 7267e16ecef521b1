/** What systemd hears of a daemon that runs under notify-systemd, with a small program in systemd's place. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "../e2e/conditions.ts";

const NOTIFY_SYSTEMD = path.resolve(import.meta.dirname, "../../deploy/systemd/notify-systemd");
const SERVICE_MANAGER = path.resolve(import.meta.dirname, "../../libs/telemetry/src/service-manager.ts");
const WATCHDOG_MS = 600;
/** Prints each message. Descriptors that come with one, by which senders know that it was read, are closed at once. */
const LISTENER = `
import socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
while True:
    print(listener.recv(4096).decode(), flush=True)
`;

let folder: string;
let socket: string;
let listener: ChildProcess;
let heard: string;
const daemons: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-notify-"));
  socket = path.join(folder, "notify");
  heard = "";
  listener = spawn("/usr/bin/python3", ["-c", LISTENER, socket], { stdio: ["ignore", "pipe", "inherit"] });
  listener.stdout?.on("data", (text: Buffer) => {
    heard += text.toString();
  });
  await eventually("somebody listens", () =>
    readFile("/proc/net/unix", "utf8").then((table) => table.includes(socket)),
  );
});

afterEach(async () => {
  for (const child of [...daemons.splice(0), listener]) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  await rm(folder, { recursive: true });
});

/** A daemon whose program is `body`, with `manager` at hand. */
async function startDaemon(body: string): Promise<ChildProcess> {
  const program = path.join(folder, "daemon.ts");
  const imports = [
    `import { serviceManager } from ${JSON.stringify(SERVICE_MANAGER)};`,
    'import { spawn } from "node:child_process"; import { readdirSync, readlinkSync, writeFileSync } from "node:fs";',
  ];
  await writeFile(program, [...imports, "const manager = serviceManager();", body].join("\n"));
  const daemon = spawn(NOTIFY_SYSTEMD, [process.execPath, program, folder], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { PATH: "/usr/bin:/bin", NOTIFY_SOCKET: socket, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) },
  });
  daemons.push(daemon);
  return daemon;
}

function pings(): number {
  return heard.split("WATCHDOG=1").length - 1;
}

test("a daemon is ready when it says so, is heard for as long as it turns, and says that it stops", async () => {
  const daemon = await startDaemon(`
    writeFileSync(process.argv[2] + "/pid", String(process.pid));
    process.on("SIGTERM", () => { manager.stopping(); process.exit(0); });
    setTimeout(() => manager.ready(), 100);
    setInterval(() => {}, 1000);`);
  await eventually("it is ready", () => heard.includes("READY=1"));
  // It is the very process that was started: systemd signals it, and knows its end.
  expect(await readFile(path.join(folder, "pid"), "utf8")).toBe(String(daemon.pid));
  await eventually("it is heard", () => pings() >= 3);
  const ended = once(daemon, "exit");
  daemon.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  await eventually("it says that it stops", () => heard.includes("STOPPING=1"));
});

test("a hung event loop falls silent", async () => {
  await startDaemon(`
    manager.ready();
    setTimeout(() => { manager.stopping(); for (;;); }, 1000);`);
  await eventually("it is heard", () => pings() >= 2);
  await eventually("it hangs", () => heard.includes("STOPPING=1"));
  const before = pings();
  const since = performance.now();
  await eventually("the watchdog's time is over", () => performance.now() - since > WATCHDOG_MS);
  expect(pings()).toBe(before);
});

test("what a daemon starts has neither the pipe nor the socket", async () => {
  await startDaemon(`
    const child = spawn(process.execPath, ["-e", \`
      const fs = require("node:fs");
      const pipe = process.argv[2];
      const pipes = fs.readdirSync("/proc/self/fd").filter((fd) => {
        try { return fs.readlinkSync("/proc/self/fd/" + fd) === pipe; } catch { return false; }
      });
      fs.writeFileSync(process.argv[1], JSON.stringify({ pipes, socket: process.env.NOTIFY_SOCKET ?? null }));
    \`, process.argv[2] + "/child", readlinkSync("/proc/self/fd/" + process.env.GANNET_NOTIFY_FD)], { stdio: "ignore" });
    child.once("exit", () => manager.ready());
    setInterval(() => {}, 1000);`);
  await eventually("the child has ended", () => heard.includes("READY=1"));
  expect(JSON.parse(await readFile(path.join(folder, "child"), "utf8"))).toEqual({ pipes: [], socket: null });
});

test("without systemd a daemon runs as it is", async () => {
  const program = path.join(folder, "daemon.ts");
  await writeFile(
    program,
    `import { serviceManager } from ${JSON.stringify(SERVICE_MANAGER)}; const manager = serviceManager(); manager.ready(); manager.stopping();`,
  );
  const daemon = spawn(NOTIFY_SYSTEMD, [process.execPath, program], {
    stdio: "inherit",
    env: { PATH: "/usr/bin:/bin" },
  });
  daemons.push(daemon);
  expect(await once(daemon, "exit")).toEqual([0, null]);
  expect(heard).toBe("");
});
