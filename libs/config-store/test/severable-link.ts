/** A unix socket in front of another, whose connections a test can cut at the worst moment. */
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";

export interface SeverableLink extends AsyncDisposable {
  readonly address: { readonly kind: "socket"; readonly path: string };
  /** The next request that holds `text` reaches the server; its answer is lost with the connection. */
  loseAnswerTo(text: string): void;
  /** Cut every connection, and refuse new ones until `restore`. */
  sever(): void;
  restore(): void;
}

export async function severableLink(target: string, path: string): Promise<SeverableLink> {
  const sockets = new Set<Socket>();
  let severed = false;
  let fatal: string | undefined;
  const server = createServer((client) => {
    if (severed) return client.destroy();
    const upstream = createConnection(target);
    let doomed = false;
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    client.on("data", (data) => {
      if (fatal !== undefined && data.includes(fatal)) {
        doomed = true;
        fatal = undefined;
      }
      upstream.write(data);
    });
    upstream.on("data", (data) => (doomed ? cut() : client.write(data)));
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("close", () => {
        sockets.delete(socket);
        cut();
      });
      socket.on("error", cut);
    }
  });
  server.listen(path);
  await once(server, "listening");
  const cutAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: { kind: "socket", path },
    loseAnswerTo(text) {
      fatal = text;
    },
    sever() {
      severed = true;
      cutAll();
    },
    restore() {
      severed = false;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      cutAll();
      await once(server, "close");
    },
  };
}
