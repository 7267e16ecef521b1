/**
 * The lab's own way into a node: scripts over a virtio serial port, run by image/node-init. It is a socket in the
 * run's private folder, not a part of the product, and no network reaches it.
 */
import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

const CONNECT_EVERY_MS = 20;

export interface CommandAnswer {
  readonly exitCode: number;
  /** Both outputs, in the order they came. */
  readonly output: string;
}

interface Waiting {
  readonly resolve: (answer: CommandAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class CommandChannel {
  readonly #socket: Socket;
  readonly #waiting = new Map<string, Waiting>();
  #last = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // A connection that breaks is told by its close; the interface repeats the error.
    createInterface({ input: socket })
      .on("line", (line) => this.#take(line))
      .on("error", () => {});
    socket.on("error", () => {});
    socket.once("close", () => this.#fail(new Error("the node was switched off")));
  }

  /** Wait until the node takes commands: qemu keeps what is written until the node reads. @throws Error as `run` */
  static async open(path: string, timeoutMs: number): Promise<CommandChannel> {
    const deadline = performance.now() + timeoutMs;
    const channel = new CommandChannel(await connected(path, deadline));
    await channel.run("true", deadline - performance.now());
    return channel;
  }

  /** Run a bash script, beside others. @throws Error when it takes too long, or the node goes away */
  async run(script: string, timeoutMs: number): Promise<CommandAnswer> {
    if (this.#socket.destroyed) throw new Error("the node is switched off");
    this.#last += 1;
    const id = String(this.#last);
    const { promise, resolve, reject } = Promise.withResolvers<CommandAnswer>();
    this.#waiting.set(id, { resolve, reject });
    this.#socket.write(`${id} ${Buffer.from(script).toString("base64")}\n`);
    try {
      return await bounded(promise, timeoutMs, `no answer in ${timeoutMs} ms: ${script}`);
    } finally {
      this.#waiting.delete(id);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(line: string): void {
    const [id = "", exitCode, output = ""] = line.split(" ");
    this.#waiting.get(id)?.resolve({
      exitCode: Number(exitCode),
      output: Buffer.from(output, "base64").toString(),
    });
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
  }
}

/** qemu's socket is there a moment before qemu listens on it. */
async function connected(path: string, deadline: number): Promise<Socket> {
  for (;;) {
    const socket = createConnection(path);
    try {
      await once(socket, "connect");
      return socket;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED" || performance.now() > deadline) throw error;
      await delay(CONNECT_EVERY_MS);
    }
  }
}

async function bounded<T>(promise: Promise<T>, timeoutMs: number, complaint: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(complaint)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
