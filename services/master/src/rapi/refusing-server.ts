/** Stands in for the remote API while the master cannot serve yet: every request is told why. */
import { once } from "node:events";
import { createServer } from "node:https";
import { errorAnswer } from "./answers.ts";
import type { TlsIdentity } from "./rapi-deps.ts";

const REQUEST_MS = 10_000;

export interface RefusingServerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsIdentity;
  /** Asked at each request. It is answered without credentials, so it names nothing that is secret. */
  readonly reason: () => Error;
}

export interface RefusingServer {
  stop(): Promise<void>;
}

/** @throws Error when it cannot listen */
export async function createRefusingServer(options: RefusingServerOptions): Promise<RefusingServer> {
  const { host, port, tls, reason } = options;
  const server = createServer(
    { cert: tls.cert, key: tls.key, minVersion: "TLSv1.2", handshakeTimeout: REQUEST_MS, requestTimeout: REQUEST_MS },
    (_request, response) => {
      const { status, body } = errorAnswer(reason());
      response.writeHead(status, { "content-type": "application/json", connection: "close" }).end(body);
    },
  );
  server.listen({ host, port });
  await once(server, "listening");
  return {
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
