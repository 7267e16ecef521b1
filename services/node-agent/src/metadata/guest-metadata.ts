/**
 * What running guests may read of themselves. It comes with a guest's start, or its arrival, and goes with its end.
 *
 * Private OS parameters are in it: a guest reads its own over a network that nobody else is in. They are kept on the
 * node, in files that only the agent may read, since a guest outlives the agent and could not be told again; and they
 * are kept no longer than the guest runs, not to be found on every node where it ever was. Secret ones are not in it:
 * the cluster forgets them with the job that brought them.
 */
import type { HypervisorDriver } from "@gannet/driver-contract";
import { HYPERVISORS, type HypervisorName } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { z } from "zod";
import { fileStem } from "../hypervisors/file-stem.ts";
import { RecordFiles } from "../hypervisors/record-files.ts";

const texts = z.record(z.string(), z.string());
const guestMetadata = z.object({
  name: z.string(),
  uuid: z.string(),
  hypervisor: z.enum(HYPERVISORS),
  /** From which it asks: of the NIC by which it talks to its node. */
  address: z.string(),
  /** Name, or name+variant. */
  os: z.string(),
  publicParameters: texts,
  privateParameters: texts,
});
export type GuestMetadata = Readonly<z.infer<typeof guestMetadata>>;

const LOOK_INTERVAL_MS = 60_000;

export interface GuestMetadataParts {
  /** For this alone; made where it is missing. */
  readonly folder: string;
  /** They have found the guests of an earlier run. */
  readonly hypervisors: ReadonlyMap<HypervisorName, HypervisorDriver>;
  readonly logger: Logger;
}

export class GuestMetadataTable {
  readonly #parts: GuestMetadataParts;
  readonly #files: RecordFiles<GuestMetadata>;
  readonly #guests = new Map<string, GuestMetadata>();
  readonly #unsubscribe: readonly (() => void)[];
  readonly #timer: NodeJS.Timeout;
  /** Changes happen one after another, so that an old look at a guest never undoes what it was told since. */
  #changing: Promise<void> = Promise.resolve();

  private constructor(parts: GuestMetadataParts) {
    this.#parts = parts;
    this.#files = new RecordFiles(parts.folder, guestMetadata, parts.logger);
    this.#unsubscribe = [...parts.hypervisors.values()].map((driver) =>
      driver.onChange((name) => void this.#inTurn(() => this.#forgetUnlessRunning(name))),
    );
    // Not every driver notices everything by itself.
    this.#timer = setInterval(() => void this.#forgetThoseGone(), LOOK_INTERVAL_MS).unref();
  }

  /** With what is kept of guests that still run. */
  static async open(parts: GuestMetadataParts): Promise<GuestMetadataTable> {
    const table = new GuestMetadataTable(parts);
    for (const guest of await table.#files.readAll()) table.#guests.set(guest.name, guest);
    await table.#forgetThoseGone();
    return table;
  }

  /** Whose address it is. */
  at(address: string): GuestMetadata | undefined {
    return this.#guests.values().find((guest) => guest.address === address);
  }

  /** From now on; undefined when it may read nothing. */
  async set(name: string, guest: GuestMetadata | undefined): Promise<void> {
    await this.#inTurn(async () => {
      if (guest === undefined) return this.#forget(name);
      // The pool gives an address to another guest when the one that had it has gone, even if nothing told so here.
      const previous = this.at(guest.address);
      if (previous !== undefined && previous.name !== name) await this.#forget(previous.name);
      this.#guests.set(name, guest);
      await this.#files.write(fileStem(name), guest);
    });
  }

  /** The guest has no longer the NIC of this address. */
  async dropAddress(name: string, address: string): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#guests.get(name)?.address === address) await this.#forget(name);
    });
  }

  /** A guest that goes for a moment in the course of this work comes back as it was. */
  async keepThrough<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const known = this.#guests.get(name);
    const result = await work();
    if (known !== undefined) await this.set(name, known);
    return result;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#changing;
  }

  async #forgetThoseGone(): Promise<void> {
    for (const name of [...this.#guests.keys()]) await this.#inTurn(() => this.#forgetUnlessRunning(name));
  }

  async #forgetUnlessRunning(name: string): Promise<void> {
    const guest = this.#guests.get(name);
    if (guest === undefined) return;
    const state = await this.#parts.hypervisors.get(guest.hypervisor)?.state(name);
    const runs = state?.uuid === guest.uuid && (state.status === "running" || state.status === "paused");
    if (!runs) await this.#forget(name);
  }

  async #forget(name: string): Promise<void> {
    if (this.#guests.delete(name)) await this.#files.remove(fileStem(name));
  }

  /** A file that cannot be written costs a guest its metadata after the agent's next start, and nothing else. */
  #inTurn(change: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.then(change).catch((error: unknown) => {
      this.#parts.logger.error({ err: error }, "a guest's metadata cannot be brought up to date");
    });
    return this.#changing;
  }
}
