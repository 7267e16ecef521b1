/** Requests as guests make them: from an address of their own. */
import { once } from "node:events";
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { connect, createServer } from "node:net";
import { text } from "node:stream/consumers";
import type { Nic } from "@gannet/rpc";

/** Where the node listens, and guests' addresses: Linux has all of 127.0.0.0/8 on its loopback interface. */
export const SERVICE_ADDRESS = "127.88.169.254";
export const ADDRESSES = ["127.88.0.1", "127.88.0.2", "127.88.0.3"] as const;

/** Of a guest with one public and one private OS parameter. */
export const COMMUNICATION_NIC: Nic = {
  uuid: "bbbbbbbb-0000-4000-8000-000000000000",
  name: "gnt:com:web1.gannet.test",
  mac: "52:54:00:00:00:01",
  ip: ADDRESSES[0],
  mode: "routed",
  link: "communication_rt",
  vlan: "",
  network: undefined,
  metadata: {
    uuid: "11111111-2222-4333-8444-555555555555",
    os: "noop",
    publicParameters: { dhcp: "yes" },
    privateParameters: { password: "whisper" },
  },
};
/** What that guest reads. */
export const OWN_PARAMETERS = { dhcp: ["yes", "public"], password: ["whisper", "private"] };

export interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export async function ask(
  port: number,
  localAddress: string,
  path: string,
  { body, ...options }: RequestOptions & { readonly body?: string } = {},
): Promise<Answered> {
  const asked = request({ host: SERVICE_ADDRESS, port, localAddress, path, agent: false, ...options });
  asked.end(body);
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

/** What the node says to these bytes until it hangs up. */
export async function say(port: number, localAddress: string, words: string): Promise<string> {
  const socket = connect({ host: SERVICE_ADDRESS, port, localAddress, allowHalfOpen: true });
  socket.write(words);
  const said = await text(socket);
  socket.destroy();
  return said;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, SERVICE_ADDRESS);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port was taken");
  return address.port;
}
