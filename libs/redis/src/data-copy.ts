/**
 * Everything that a Redis holds at one moment: the RDB file that it gives a new replica. The server goes on meanwhile,
 * as it does for a replica (https://redis.io/docs/latest/operate/oss_and_stack/management/replication/).
 */
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Unavailable } from "@gannet/errors";
import { connectRedis, type RedisAddress, redisReady } from "./connection.ts";

export interface RedisDataCopy {
  readonly sizeBytes: number;
  /** To be read to its end, or `close`d. @throws Unavailable when the connection breaks before the end */
  readonly content: AsyncIterable<Buffer>;
  close(): void;
}

const READY_TIMEOUT_MS = 10_000;
/** While it writes the file the server sends a line feed every second or so. */
const SILENCE_LIMIT_MS = 60_000;
const LONGEST_LINE_BYTES = 4_096;
const LINE_FEED = 0x0a;

/** @throws Unavailable when there is no connection, or the server gives no copy */
export async function copyRedisData(address: RedisAddress): Promise<RedisDataCopy> {
  const socket = await openSocket(address);
  try {
    const reader = new SocketReader(socket);
    if (address.password !== undefined) {
      await send(socket, ["AUTH", ...userOf(address), address.password]);
      await reader.reply();
    }
    await send(socket, ["SYNC"]);
    const line = await reader.reply();
    const size = /^\$(\d+)$/.exec(line)?.[1];
    if (size === undefined) throw new Unavailable(`Redis gives no copy of its data: ${line.slice(0, 200)}`);
    return { sizeBytes: Number(size), content: reader.bytes(Number(size)), close: () => socket.destroy() };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** A plain connection to the server that an ordinary one leads to. */
async function openSocket(address: RedisAddress): Promise<Socket> {
  const target = address.kind === "socket" ? { path: address.path } : await serverOf(address);
  const socket =
    "tls" in target && target.tls
      ? connectTls({
          ...target,
          minVersion: "TLSv1.2",
          ...(address.ca === undefined ? {} : { ca: address.ca }),
          ...address.certificate,
        })
      : connect(target);
  // Whoever writes or reads is told; without a listener the process would end.
  socket.on("error", () => {});
  socket.setTimeout(SILENCE_LIMIT_MS, () => socket.destroy(new Error("it was silent for too long")));
  return socket;
}

interface Server {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

async function serverOf(address: Exclude<RedisAddress, { kind: "socket" }>): Promise<Server> {
  const tls = address.ca !== undefined || (address.kind === "url" && address.url.startsWith("rediss:"));
  if (address.kind === "url") {
    const { hostname, port } = new URL(address.url);
    return { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: port === "" ? 6379 : Number(port), tls };
  }
  // The sentinels know which server is the primary; so does a connection that was made through them.
  const redis = connectRedis(address, { name: "data-copy" });
  try {
    await redisReady(redis, { timeoutMs: READY_TIMEOUT_MS });
    const { remoteAddress, remotePort } = redis.stream as Socket;
    if (remoteAddress === undefined || remotePort === undefined)
      throw new Unavailable("The connection to Redis broke while its primary was looked for");
    return { host: remoteAddress, port: remotePort, tls };
  } finally {
    redis.disconnect();
  }
}

function userOf(address: RedisAddress): readonly string[] {
  const user = address.kind === "url" ? new URL(address.url).username : "";
  return user === "" ? [] : [decodeURIComponent(user)];
}

/** RESP: an array of bulk strings. */
function send(socket: Socket, words: readonly string[]): Promise<void> {
  const text = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("");
  return new Promise((resolve, reject) => {
    socket.write(`*${words.length}\r\n${text}`, (error) => {
      if (error == null) resolve();
      else reject(new Unavailable(`Redis is not reachable: ${error.message}`, { cause: error }));
    });
  });
}

/** Lines, then bytes, from one connection. */
class SocketReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  /** The next line that is not empty. @throws Unavailable also when it is an error */
  async reply(): Promise<string> {
    for (;;) {
      const line = await this.#line();
      if (line.startsWith("-")) throw new Unavailable(`Redis gives no copy of its data: ${line.slice(1, 200)}`);
      if (line !== "") return line;
    }
  }

  async *bytes(count: number): AsyncGenerator<Buffer> {
    for (let left = count; left > 0; ) {
      if (this.#rest.length === 0) this.#rest = await this.#more();
      const part = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }

  async #line(): Promise<string> {
    let end = this.#rest.indexOf(LINE_FEED);
    while (end < 0) {
      if (this.#rest.length > LONGEST_LINE_BYTES) throw new Unavailable("What answers is no Redis");
      this.#rest = Buffer.concat([this.#rest, await this.#more()]);
      end = this.#rest.indexOf(LINE_FEED);
    }
    const line = this.#rest.subarray(0, end).toString().replace(/\r$/, "");
    this.#rest = this.#rest.subarray(end + 1);
    return line;
  }

  async #more(): Promise<Buffer> {
    try {
      const { done, value } = await this.#chunks.next();
      if (done !== true) return value;
    } catch (cause) {
      throw new Unavailable(`Redis is not reachable: ${(cause as Error).message}`, { cause });
    }
    throw new Unavailable("Redis closed the connection before all its data were copied");
  }
}
