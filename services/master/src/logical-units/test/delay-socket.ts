/** A socket on the master's machine at which a delay can be ended early, as Ganeti's tests of its queue do. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

export class DelaySocket implements AsyncDisposable {
  readonly path: string;
  /** Fulfilled when somebody has connected. */
  readonly touched: Promise<void>;
  readonly #folder: string;
  readonly #server: Server;

  private constructor(folder: string, server: Server) {
    this.#folder = folder;
    this.#server = server;
    this.path = path.join(folder, "socket");
    this.touched = new Promise((resolve) => {
      server.once("connection", (connection) => {
        connection.destroy();
        resolve();
      });
    });
  }

  /** In a folder that only the master's user can enter. */
  static async open(): Promise<DelaySocket> {
    const socket = new DelaySocket(await mkdtemp(path.join(tmpdir(), "gannet-delay-")), createServer());
    socket.#server.listen(socket.path);
    await once(socket.#server, "listening");
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
