/** The remote API's certificate and key, read again when they change, so that neither takes a restart. */
import { type FSWatcher, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { createSecureContext } from "node:tls";
import type { Logger } from "@gannet/telemetry";
import type { TlsIdentity } from "./rapi-deps.ts";

export interface TlsFilesOptions {
  /** PEM, with its chain. */
  readonly certificateFile: string;
  /** PEM. */
  readonly keyFile: string;
  readonly logger: Logger;
  readonly onChange: (tls: TlsIdentity) => void;
}

/** Certificate and key are two files: the second has come by then. */
const SETTLE_MS = 200;
/** Network file systems and folders that were replaced send no events. */
const CHECK_INTERVAL_MS = 30_000;

export class TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #watchers: FSWatcher[] = [];
  #inUse: string;
  #failure: string | undefined;
  #settling: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param inUse - what the files held when the server was given them */
  constructor(options: TlsFilesOptions, inUse: TlsIdentity) {
    this.#options = options;
    this.#inUse = textOf(inUse);
  }

  start(): void {
    const { certificateFile, keyFile, logger } = this.#options;
    for (const folder of new Set([dirname(certificateFile), dirname(keyFile)])) {
      const onTrouble = (error: unknown) =>
        logger.warn({ err: error, folder }, "certificates are checked by time only");
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#refreshSoon());
        this.#watchers.push(watcher.on("error", onTrouble));
      } catch (error) {
        onTrouble(error);
      }
    }
    this.#timer = setInterval(() => void this.refresh(), CHECK_INTERVAL_MS).unref();
  }

  stop(): void {
    for (const watcher of this.#watchers) watcher.close();
    clearTimeout(this.#settling);
    clearInterval(this.#timer);
  }

  /** Take the files over if they changed and can be used; otherwise all stays as it is. Never throws. */
  async refresh(): Promise<void> {
    const { certificateFile, keyFile, logger, onChange } = this.#options;
    try {
      const [cert, key] = await Promise.all([readFile(certificateFile), readFile(keyFile)]);
      const text = textOf({ cert, key });
      if (text === this.#inUse) return;
      createSecureContext({ cert, key });
      onChange({ cert, key });
      this.#inUse = text;
      this.#failure = undefined;
      logger.info({ certificateFile }, "the remote API's certificate was replaced");
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? String(error);
      if (reason === this.#failure) return;
      this.#failure = reason;
      logger.error({ reason, certificateFile, keyFile }, "a certificate cannot be used: the one before stays in use");
    }
  }

  #refreshSoon(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => void this.refresh(), SETTLE_MS).unref();
  }
}

function textOf({ cert, key }: TlsIdentity): string {
  return `${cert}\n${key}`;
}
