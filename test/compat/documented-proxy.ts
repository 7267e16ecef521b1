/**
 * Stands between a client that is not ours and the remote API, and compares each answer with the API's own description,
 * whoever asked for it. It passes everything on as it came.
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, request } from "node:https";
import { loadIdentity } from "@gannet/pki";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { requireDocumented } from "../rapi-client.ts";

export interface DocumentedProxy extends AsyncDisposable {
  /** On 127.0.0.1, with the certificate of the remote API itself. */
  readonly port: number;
  /** What was not as documented, once each. */
  readonly faults: ReadonlySet<string>;
  /** How many answers there were. */
  readonly answers: number;
}

export async function startDocumentedProxy(cluster: {
  readonly port: number;
  readonly stateDir: string;
}): Promise<DocumentedProxy> {
  const faults = new Set<string>();
  let answers = 0;
  const { key, cert } = await loadIdentity(layoutOf(cluster.stateDir, 0).rapiIdentityDir);
  const server = createServer({ key, cert }, (asked, answer) => {
    void passOn(cluster.port, asked, answer)
      .then((told) => {
        answers += 1;
        requireDocumented(asked.method ?? "", asked.url ?? "", told);
      })
      .catch((error: unknown) => {
        faults.add(String(error));
        answer.destroy();
      });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    faults,
    get answers() {
      return answers;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

async function passOn(port: number, asked: IncomingMessage, answer: ServerResponse) {
  const { method, url, headers } = asked;
  const call = request({ host: "127.0.0.1", port, method, path: url, headers, rejectUnauthorized: false });
  asked.pipe(call);
  const [reply] = (await once(call, "response")) as [IncomingMessage];
  const status = reply.statusCode ?? 0;
  const chunks: Buffer[] = [];
  for await (const chunk of reply) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  answer.writeHead(status, reply.headers);
  answer.end(body);
  const isJson = reply.headers["content-type"] === "application/json" && body.length > 0;
  return { status, body: isJson ? JSON.parse(body.toString()) : undefined };
}
