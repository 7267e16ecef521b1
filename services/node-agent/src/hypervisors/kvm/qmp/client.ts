/** A QMP monitor for as long as its qemu lives: connects, reconnects with back-off, and passes events on. */
import { setTimeout as delay } from "node:timers/promises";
import { HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import type { QmpAnswer, QmpCall, QmpCommandName } from "./commands.ts";
import type { QmpEvent } from "./events.ts";
import { type QmpEnclosure, QmpSession } from "./session.ts";

export interface QmpClientOptions {
  readonly socketPath: string;
  readonly logger: Logger;
  /** Asked before each attempt to connect; false ends the client. Does not throw. */
  readonly targetLives: () => Promise<boolean>;
  readonly onEvent: (event: QmpEvent) => void;
  /** After each connection, the first included: events between two connections are lost. */
  readonly onConnect: () => void;
  /** Once, when `targetLives` said no. Not after `close`. */
  readonly onGone: () => void;
  readonly firstRetryMs?: number;
  readonly longestRetryMs?: number;
  readonly openTimeoutMs?: number;
  /** Whether open files can be handed over. Default false. */
  readonly passesDescriptors?: boolean;
}

/** The main loop of a busy qemu may be held up by slow storage; Ganeti waits as long (spec/node-ops.json). */
const DEFAULT_COMMAND_TIMEOUT_MS = 5_000;
/** Also how late the end of a qemu may be noticed that closes its monitor long before it has ended. */
const LONGEST_RETRY_MS = 1_000;

export class QmpClient {
  readonly #options: QmpClientOptions;
  readonly #closing = new AbortController();
  #session: QmpSession | undefined;
  /** Settles when the present session, or the next one, is open. */
  #connected = Promise.withResolvers<QmpSession>();

  constructor(options: QmpClientOptions) {
    this.#options = options;
    this.#connected.promise.catch(() => {});
    void this.#run();
  }

  /**
   * Waits for a connection when there is none; connection and answer share the timeout (default 5 s).
   * @throws HypervisorError when qemu refuses, does not answer in time or is gone
   */
  async execute<Name extends QmpCommandName>(
    call: QmpCall<Name>,
    options: { readonly timeoutMs?: number } & QmpEnclosure = {},
  ): Promise<QmpAnswer<Name>> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_COMMAND_TIMEOUT_MS;
    const deadline = performance.now() + timeoutMs;
    const session = this.#session ?? (await this.#nextSession(timeoutMs));
    return session.execute(call, { ...options, timeoutMs: Math.max(1, deadline - performance.now()) });
  }

  /** Let go of the monitor; commands under way fail. */
  close(): void {
    this.#closing.abort();
    this.#connected.reject(this.#failure("was closed"));
  }

  async #nextSession(timeoutMs: number): Promise<QmpSession> {
    const giveUp = new AbortController();
    const late = delay(timeoutMs, undefined, { signal: giveUp.signal }).then(() => {
      throw this.#failure(`could not be connected within ${timeoutMs} ms`);
    });
    late.catch(() => {});
    try {
      return await Promise.race([this.#connected.promise, late]);
    } finally {
      giveUp.abort();
    }
  }

  async #run(): Promise<void> {
    const firstRetryMs = this.#options.firstRetryMs ?? 20;
    const longestRetryMs = this.#options.longestRetryMs ?? LONGEST_RETRY_MS;
    let retryMs = firstRetryMs;
    while (!this.#closing.signal.aborted) {
      if (!(await this.#options.targetLives())) break;
      if (await this.#connectOnce()) retryMs = firstRetryMs;
      await delay(retryMs, undefined, { signal: this.#closing.signal }).catch(() => {});
      retryMs = Math.min(retryMs * 2, longestRetryMs);
    }
    const wasClosed = this.#closing.signal.aborted;
    this.#connected.reject(this.#failure(wasClosed ? "was closed" : "is gone"));
    if (!wasClosed) this.#options.onGone();
  }

  /** Resolves when a connection is over, true, or could not be made, false. */
  async #connectOnce(): Promise<boolean> {
    const over = Promise.withResolvers<HypervisorError>();
    try {
      const session = await QmpSession.open({
        socketPath: this.#options.socketPath,
        logger: this.#options.logger,
        openTimeoutMs: this.#options.openTimeoutMs ?? DEFAULT_COMMAND_TIMEOUT_MS,
        passesDescriptors: this.#options.passesDescriptors ?? false,
        signal: this.#closing.signal,
        onEvent: this.#options.onEvent,
        onClose: over.resolve,
      });
      this.#session = session;
      this.#connected.resolve(session);
    } catch (error) {
      this.#options.logger.debug({ error }, "QMP monitor not reached");
      return false;
    }
    if (!this.#closing.signal.aborted) this.#options.onConnect();
    const reason = await over.promise;
    this.#session = undefined;
    this.#connected = Promise.withResolvers<QmpSession>();
    this.#connected.promise.catch(() => {});
    this.#options.logger.debug({ reason: reason.message }, "QMP connection over");
    return true;
  }

  #failure(reason: string): HypervisorError {
    return new HypervisorError(`QMP monitor ${this.#options.socketPath} ${reason}`);
  }
}
