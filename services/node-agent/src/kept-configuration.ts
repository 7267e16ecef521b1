/** The copy of the cluster's configuration that a master candidate keeps, for the day when every Redis has lost it. */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { OpPrereqError } from "@gannet/errors";
import { replaceDurably } from "./durable-file.ts";

const unzip = promisify(gunzip);
/** Some hundred thousand instances. */
const MOST_BYTES = 512 * 1024 * 1024;

export class KeptConfiguration {
  readonly #file: string;
  #newest = { epoch: 0, serial: 0 };
  #writing: Promise<unknown> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  /**
   * It is on disk when this resolves, for root only: it holds private OS parameters. One that a leader sends late does
   * not replace a newer one of the same leader; another leader's always does, because a cluster that was rebuilt
   * counts anew.
   * @param copy - of a leader whose epoch was admitted
   * @throws OpPrereqError when it cannot be unpacked
   */
  async keep(copy: { readonly epoch: number; readonly serial: number; readonly gzip: Uint8Array }): Promise<void> {
    const written = this.#writing.catch(() => undefined).then(() => this.#replace(copy));
    this.#writing = written;
    await written;
  }

  async #replace({ epoch, serial, gzip }: Parameters<KeptConfiguration["keep"]>[0]): Promise<void> {
    const { epoch: latest, serial: newest } = this.#newest;
    if (epoch < latest || (epoch === latest && serial <= newest)) return;
    const text = await unzip(gzip, { maxOutputLength: MOST_BYTES }).catch((cause: unknown) => {
      throw new OpPrereqError("The configuration that was sent cannot be unpacked", "wrong_input", { cause });
    });
    await replaceDurably(this.#file, text.toString("utf8"));
    this.#newest = { epoch, serial };
  }
}
