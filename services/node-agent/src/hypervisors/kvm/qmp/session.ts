/** One connection to a QMP monitor, from greeting to close. Reconnecting is `QmpClient`'s. */
import { HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { QMP_COMMANDS, type QmpAnswer, type QmpCall, type QmpCommandName } from "./commands.ts";
import { connectPassing, connectPlain, type EnclosedFile, type MonitorConnection } from "./descriptor-socket.ts";
import { parseQmpEvent, type QmpEvent } from "./events.ts";
import { LineFramer } from "./line-framer.ts";
import { parseQmpMessage, type QmpMessage, type QmpVersion } from "./message.ts";

export interface QmpSessionOptions {
  /** The monitor's unix socket. */
  readonly socketPath: string;
  readonly logger: Logger;
  /** Of connecting, the greeting and the negotiation together. */
  readonly openTimeoutMs: number;
  /** Whether open files can be handed over. */
  readonly passesDescriptors: boolean;
  readonly onEvent: (event: QmpEvent) => void;
  /** Called once, when a session that had been opened is over for whatever reason. */
  readonly onClose: (reason: HypervisorError) => void;
  /** Its abort closes the session, opened or not. */
  readonly signal: AbortSignal;
}

/** What goes with a command. */
export interface QmpEnclosure {
  /** For `add-fd`. */
  readonly enclosed?: EnclosedFile;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: HypervisorError) => void;
}

export class QmpSession {
  readonly #options: QmpSessionOptions;
  readonly #connection: MonitorConnection;
  readonly #framer = new LineFramer();
  readonly #pending = new Map<number, Pending>();
  readonly #onAbort = (): void => this.close();
  readonly #greeting = Promise.withResolvers<QmpVersion>();
  #nextId = 1;
  #opened = false;
  #closed: HypervisorError | undefined;

  /** @throws HypervisorError when nobody listens, the greeting does not come in time or is no QMP */
  static async open(options: QmpSessionOptions): Promise<QmpSession> {
    const session = new QmpSession(options);
    const timer = setTimeout(() => {
      // qemu serves one client a monitor and leaves further ones waiting in the socket's queue.
      session.#end(`did not greet within ${options.openTimeoutMs} ms; is another client connected to it?`);
    }, options.openTimeoutMs);
    try {
      await session.#greeting.promise;
      await session.execute({ name: "qmp_capabilities" }, { timeoutMs: options.openTimeoutMs });
      session.#opened = true;
      return session;
    } catch (error) {
      session.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  private constructor(options: QmpSessionOptions) {
    this.#options = options;
    this.#greeting.promise.catch(() => {});
    this.#connection = (options.passesDescriptors ? connectPassing : connectPlain)(options.socketPath);
    const { socket } = this.#connection;
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (error) => this.#end(error.message));
    socket.on("close", () => this.#end("was closed by qemu"));
    if (options.signal.aborted) this.close();
    options.signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** @throws HypervisorError when qemu refuses, does not answer in time, answers in another form, or goes away */
  async execute<Name extends QmpCommandName>(
    call: QmpCall<Name>,
    { timeoutMs, enclosed }: { readonly timeoutMs: number } & QmpEnclosure,
  ): Promise<QmpAnswer<Name>> {
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId++;
    const answered = Promise.withResolvers<unknown>();
    // It may fail while a file is still being opened for it.
    answered.promise.catch(() => {});
    this.#pending.set(id, answered);
    const timer = setTimeout(() => {
      answered.reject(this.#failure(`did not answer ${call.name} within ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      const command = "arguments" in call ? { arguments: call.arguments } : {};
      const line = `${JSON.stringify({ execute: call.name, ...command, id })}\n`;
      if (enclosed === undefined) this.#connection.socket.write(line);
      else await this.#connection.writeWith(line, enclosed);
      return this.#parseAnswer(call.name, await answered.promise);
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  close(): void {
    this.#end("was closed");
  }

  #parseAnswer<Name extends QmpCommandName>(name: Name, value: unknown): QmpAnswer<Name> {
    const parsed = QMP_COMMANDS[name].answer.safeParse(value);
    if (!parsed.success) throw this.#failure(`answered ${name} in an unknown form: ${parsed.error.message}`);
    return parsed.data as QmpAnswer<Name>;
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed !== undefined) return;
    try {
      for (const line of this.#framer.push(chunk)) this.#dispatch(parseQmpMessage(line));
    } catch (error) {
      this.#end(error instanceof Error ? error.message : String(error));
    }
  }

  #dispatch(message: QmpMessage): void {
    switch (message.kind) {
      case "greeting":
        this.#greeting.resolve(message.version);
        return;
      case "event": {
        const event = parseQmpEvent(message.event, message.data);
        if (event === undefined) this.#options.logger.debug({ event: message.event }, "QMP event not listened to");
        else this.#options.onEvent(event);
        return;
      }
      case "return":
        this.#pendingOf(message.id)?.resolve(message.value);
        return;
      case "error":
        this.#pendingOf(message.id)?.reject(this.#failure(`refused (${message.class}): ${message.description}`));
        return;
    }
  }

  /** An answer nobody waits for came too late. One without id answers a command that qemu could not read. */
  #pendingOf(id: number | undefined): Pending | undefined {
    if (id === undefined) throw new HypervisorError("it could not read a command");
    return this.#pending.get(id);
  }

  #end(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = this.#failure(reason);
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#connection.socket.destroy();
    this.#greeting.reject(this.#closed);
    for (const pending of this.#pending.values()) pending.reject(this.#closed);
    if (this.#opened) this.#options.onClose(this.#closed);
  }

  #failure(reason: string): HypervisorError {
    return new HypervisorError(`QMP monitor ${this.#options.socketPath}: ${reason}`);
  }
}
