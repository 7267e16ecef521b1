/** The heap of a running Node process, asked for through its inspector (https://nodejs.org/api/inspector.html). */
import { setTimeout as delay } from "node:timers/promises";

/** Where the inspector of a process listens that was started without one. */
const TARGETS = "http://127.0.0.1:9229/json/list";
const PATIENCE_MS = 5_000;

/** What is in use after everything that can be collected has been. @throws Error when another process has the port */
export async function liveHeapKib(pid: number): Promise<number> {
  process.kill(pid, "SIGUSR1");
  const inspector = await Inspector.open(await inspectorAddress());
  try {
    const who = await inspector.ask<{ result: { value: unknown } }>("Runtime.evaluate", { expression: "process.pid" });
    if (who.result.value !== pid) throw new Error(`${TARGETS} is the inspector of process ${who.result.value}`);
    await inspector.ask("HeapProfiler.collectGarbage");
    const { usedSize } = await inspector.ask<{ usedSize: number }>("Runtime.getHeapUsage");
    return usedSize / 1024;
  } finally {
    inspector.close();
  }
}

async function inspectorAddress(): Promise<string> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      const [target] = (await (await fetch(TARGETS)).json()) as readonly { webSocketDebuggerUrl: string }[];
      if (target !== undefined) return target.webSocketDebuggerUrl;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await delay(50);
  }
}

class Inspector {
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  #questions = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const { id, result, error } = JSON.parse(String(data)) as {
        readonly id: number;
        readonly result?: unknown;
        readonly error?: { readonly message: string };
      };
      if (error === undefined) this.#answers.get(id)?.resolve(result);
      else this.#answers.get(id)?.reject(new Error(error.message));
    });
    socket.addEventListener("close", () => {
      for (const { reject } of this.#answers.values()) reject(new Error("the process closed its inspector"));
    });
  }

  static async open(address: string): Promise<Inspector> {
    const socket = new WebSocket(address);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", () => reject(new Error(`${address} cannot be connected to`)));
    });
    return new Inspector(socket);
  }

  async ask<Answer>(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    this.#questions += 1;
    const answer = Promise.withResolvers<unknown>();
    this.#answers.set(this.#questions, answer);
    this.#socket.send(JSON.stringify({ id: this.#questions, method, params }));
    return (await answer.promise) as Answer;
  }

  close(): void {
    this.#socket.close();
  }
}
