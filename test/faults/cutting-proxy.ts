/** A unix socket in front of Redis that cuts all connections at one chosen command. */
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";

/** `unsent`: the command never reaches Redis. `unanswered`: it runs, and its answer is lost. */
export type Cut = "unsent" | "unanswered";

export interface CuttingProxy extends AsyncDisposable {
  readonly address: { readonly kind: "socket"; readonly path: string };
  /** Cut at the n-th command from now on, whichever connection sends it. New connections are taken at once. */
  arm(n: number, cut: Cut): void;
  /** @returns the command at which it cut, in words; undefined when there were fewer. It cuts no more. */
  disarm(): string | undefined;
}

export async function startCuttingProxy(target: string, path: string): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  const cutAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  let left = 0;
  let how: Cut = "unsent";
  let victim: string | undefined;
  const server = createServer((client) => {
    const upstream = createConnection(target);
    const commands = new CommandSplitter();
    let doomed = false;
    client.on("data", (chunk: Buffer) => {
      for (const command of commands.take(chunk)) {
        const struck = left === 1;
        if (left > 0) left -= 1;
        if (struck) victim = wordsOf(command);
        if (struck && how === "unsent") return cutAll();
        if (struck) doomed = true;
        upstream.write(command);
      }
    });
    upstream.on("data", (chunk: Buffer) => (doomed ? cutAll() : client.write(chunk)));
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(path);
  await once(server, "listening");
  return {
    address: { kind: "socket", path },
    arm(n, cut) {
      left = n;
      how = cut;
      victim = undefined;
    },
    disarm() {
      left = 0;
      return victim;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      cutAll();
      await once(server, "close");
    },
  };
}

/** Cuts a client's stream into whole commands (https://redis.io/docs/latest/develop/reference/protocol-spec/). */
class CommandSplitter {
  #rest: Buffer = Buffer.alloc(0);

  take(chunk: Buffer): readonly Buffer[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const commands: Buffer[] = [];
    for (let end = endOfCommand(this.#rest); end !== undefined; end = endOfCommand(this.#rest)) {
      commands.push(this.#rest.subarray(0, end));
      this.#rest = this.#rest.subarray(end);
    }
    return commands;
  }
}

/** Where the first command ends: an array of bulk strings, `*<how many>`, then `$<bytes>` and the bytes of each. */
function endOfCommand(buffer: Buffer): number | undefined {
  const header = lineAt(buffer, 0);
  if (header === undefined) return undefined;
  let at = header.end;
  for (let left = Number(header.text.slice(1)); left > 0; left -= 1) {
    const length = lineAt(buffer, at);
    if (length === undefined) return undefined;
    at = length.end + Number(length.text.slice(1)) + 2;
    if (at > buffer.length) return undefined;
  }
  return at;
}

function lineAt(buffer: Buffer, start: number): { readonly text: string; readonly end: number } | undefined {
  const end = buffer.indexOf("\r\n", start);
  return end < 0 ? undefined : { text: buffer.toString("latin1", start, end), end: end + 2 };
}

/** Its first arguments, which name it. */
function wordsOf(command: Buffer): string {
  return command
    .toString("latin1")
    .split("\r\n")
    .filter((_, index) => index > 0 && index % 2 === 0)
    .slice(0, 5)
    .map((word) => word.slice(0, 40))
    .join(" ");
}
