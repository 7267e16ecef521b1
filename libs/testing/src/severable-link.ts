/** A unix socket in front of a redis-server's, whose connections a test can cut at the worst moment. */
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";

export interface SeverableLink extends AsyncDisposable {
  readonly address: { readonly kind: "socket"; readonly path: string };
  /**
   * The next request that holds `text` reaches the server; its answer is lost with the connection.
   * @returns when that has happened
   */
  loseAnswerTo(text: string, then?: "sever"): Promise<void>;
  /** The next request that holds `text` is lost with its connection before the server has it. */
  loseRequest(text: string): Promise<void>;
  /** Cut every connection, and refuse new ones until `restore`. */
  sever(): void;
  /** Let everything through, also what was to be lost and has not come yet. */
  restore(): void;
}

interface Loss {
  readonly what: "request" | "answer";
  readonly text: string;
  readonly happened: () => void;
}

/** @param database number of the server's database that every connection is given */
export async function severableLink(
  target: string,
  path: string,
  { database = 0 }: { readonly database?: number } = {},
): Promise<SeverableLink> {
  const sockets = new Set<Socket>();
  let severed = false;
  let loss: Loss | undefined;
  const server = createServer((client) => {
    if (severed) return client.destroy();
    const upstream = createConnection(target);
    upstream.write(`SELECT ${database}\r\n`);
    let unread = "+OK\r\n".length;
    let lost: Loss | undefined;
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    const lose = () => {
      cut();
      lost?.happened();
      lost = undefined;
    };
    client.on("data", (data) => {
      if (loss !== undefined && data.includes(loss.text)) {
        lost = loss;
        loss = undefined;
      }
      if (lost?.what === "request") lose();
      else upstream.write(data);
    });
    upstream.on("data", (data) => {
      const answer = data.subarray(unread);
      unread -= data.length - answer.length;
      if (answer.length === 0) return;
      if (lost === undefined) client.write(answer);
      else lose();
    });
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
  const sever = () => {
    severed = true;
    cutAll();
  };
  const next = (what: Loss["what"], text: string, then?: "sever") =>
    new Promise<void>((resolve) => {
      const happened = () => {
        if (then === "sever") sever();
        resolve();
      };
      loss = { what, text, happened };
    });
  return {
    address: { kind: "socket", path },
    loseAnswerTo: (text, then) => next("answer", text, then),
    loseRequest: (text) => next("request", text),
    sever,
    restore() {
      severed = false;
      loss = undefined;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      cutAll();
      await once(server, "close");
    },
  };
}
