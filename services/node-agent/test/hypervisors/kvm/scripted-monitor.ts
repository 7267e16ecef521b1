/** A QMP server that says what a test tells it to. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

export const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: "" }, capabilities: ["oob"] },
};

export interface MonitorRequest {
  readonly execute: string;
  readonly arguments?: unknown;
  readonly id: number;
}

export interface MonitorScript {
  /** Called for each connection; the default sends the greeting. */
  greet?(connection: Socket): void;
  /** Called for each request but the negotiation; the default answers `{}`. */
  answer?(request: MonitorRequest, connection: Socket): void;
}

export interface ScriptedMonitor extends AsyncDisposable {
  readonly socketPath: string;
  /** Everything that was asked, the negotiation included. */
  readonly requests: MonitorRequest[];
  /** How often a client has connected. */
  readonly connections: Socket[];
  readonly script: MonitorScript;
  /** Stop listening, and listen again. */
  down(): Promise<void>;
  up(): Promise<void>;
}

export function send(connection: Socket, message: unknown): void {
  connection.write(`${JSON.stringify(message)}\r\n`);
}

export async function startScriptedMonitor(script: MonitorScript): Promise<ScriptedMonitor> {
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-qmp-"));
  const socketPath = path.join(folder, "qmp");
  const requests: MonitorRequest[] = [];
  const connections: Socket[] = [];
  let server: Server;

  async function up(): Promise<void> {
    server = createServer((connection) => {
      connections.push(connection);
      connection.on("error", () => {});
      if (script.greet === undefined) send(connection, GREETING);
      else script.greet(connection);
      let partial = "";
      connection.on("data", (chunk) => {
        const lines = (partial + chunk).split("\n");
        partial = lines.pop() ?? "";
        for (const line of lines) receive(JSON.parse(line), connection);
      });
    });
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  }

  function receive(request: MonitorRequest, connection: Socket): void {
    requests.push(request);
    if (request.execute === "qmp_capabilities" || script.answer === undefined) {
      send(connection, { return: {}, id: request.id });
    } else script.answer(request, connection);
  }

  async function down(): Promise<void> {
    for (const connection of connections) connection.destroy();
    await new Promise((resolve) => server.close(resolve));
  }

  await up();
  return {
    socketPath,
    requests,
    connections,
    script,
    up,
    down,
    async [Symbol.asyncDispose]() {
      await down();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
