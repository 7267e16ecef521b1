/** All masters of the cluster, as each of them knows them, and the planned change of the leader. */
import { setTimeout as delay } from "node:timers/promises";
import { OpExecError, OpPrereqError, Unavailable } from "@gannet/errors";
import type { KnownMaster, LeaderElection, MasterRoster } from "@gannet/locking";
import type { Logger } from "@gannet/telemetry";
import { z } from "zod";
import { masterServers } from "./known-servers.ts";

/** What a master tells the others of itself. */
const told = z.object({
  /** `host:port` of its remote API. */
  address: z.string(),
  version: z.string(),
  /** Of the configuration that it knows. */
  serial: z.int(),
  /** What is shown and trusted on its machine, where Redis is reached by certificates. */
  certificates: z.object({ trusted: z.array(z.string()).readonly(), issuer: z.string() }).optional(),
  /** The servers of its machine. */
  servers: masterServers.optional(),
});
type Told = z.infer<typeof told>;

export interface MasterState extends Told {
  /** Its node. */
  readonly name: string;
  readonly isLeader: boolean;
  readonly silentMs: number;
  /** How many changes of the configuration the asked master knows and this one does not. */
  readonly behind: number;
  readonly health: "ok" | "behind" | "silent";
}

/** A leader that is to end its term in favour of another master. */
export interface Handover {
  readonly successor: string;
  /** How long what runs may go on; then it is left to the successor, who undoes it. */
  readonly graceMs: number;
}

export interface MastersParts {
  readonly roster: MasterRoster;
  readonly election: Pick<LeaderElection, "current">;
  /** This master's node. */
  readonly self: string;
  readonly tell: () => Told;
  readonly logger: Logger;
}

const ANNOUNCE_MS = 2_000;
/** Who has not said a word for so long may be dead. */
const SILENCE_LIMIT_MS = 8_000;
/**
 * A master that does not know by then what this one knew does not follow the changes. Counted in time: under load there
 * are a hundred changes between two times that a master tells of itself.
 */
const LAG_LIMIT_MS = 5_000;
const REMEMBER_MS = 60_000;
/** Beyond the grace: the time in which the successor has to stand. */
const SUCCESSION_MS = 20_000;
const LOOK_MS = 100;

export class Masters {
  readonly #parts: MastersParts;
  #handOver: ((handover: Handover) => void) | undefined;
  /** What this master knew, and when by the monotonic clock. */
  #knew: readonly { readonly atMs: number; readonly serial: number }[] = [];

  constructor(parts: MastersParts) {
    this.#parts = parts;
  }

  /** Say now and then that this master is there, until `stop` is aborted. */
  async keepAnnouncing(stop: AbortSignal): Promise<void> {
    const { roster, self, tell, logger } = this.#parts;
    while (!stop.aborted) {
      const news = tell();
      const atMs = performance.now();
      this.#knew = [...this.#knew.filter((each) => each.atMs > atMs - REMEMBER_MS), { atMs, serial: news.serial }];
      await roster.announce(self, news).catch((error: unknown) => {
        if (error instanceof Unavailable) return;
        logger.error({ err: error }, "this master could not tell the others of itself");
      });
      await delay(ANNOUNCE_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  }

  /** This master leads, and this is how it is told to stop. @returns what ends that */
  inOffice(handOver: (handover: Handover) => void): Disposable {
    this.#handOver = handOver;
    return {
      [Symbol.dispose]: () => {
        if (this.#handOver === handOver) this.#handOver = undefined;
      },
    };
  }

  /** @throws Unavailable */
  async survey(): Promise<{ readonly leader: { name: string; epoch: number } | undefined; masters: MasterState[] }> {
    const { roster, election, tell } = this.#parts;
    const [known, leader] = await Promise.all([roster.list(), election.current()]);
    const masters = known.flatMap((master) =>
      stateOf(master, {
        leader: leader?.holder,
        serial: tell().serial,
        due: this.#serialBefore(performance.now() - master.silentMs - LAG_LIMIT_MS),
      }),
    );
    return { leader: leader === undefined ? undefined : { name: leader.holder, epoch: leader.epoch }, masters };
  }

  #serialBefore(atMs: number): number {
    return this.#knew.findLast((each) => each.atMs <= atMs)?.serial ?? 0;
  }

  /**
   * End this master's term in favour of another one.
   * @returns the new leader's epoch, once it leads
   * @throws OpPrereqError when that master cannot follow, or this one does not lead; OpExecError when another one leads
   *   in the end, or none does
   */
  async failOver({ successor, graceMs }: Handover): Promise<number> {
    const { self, election } = this.#parts;
    const handOver = this.#handOver;
    if (handOver === undefined) throw new Unavailable("This master does not lead the cluster now; try again");
    const { masters, leader } = await this.survey();
    if (successor === self) throw new OpPrereqError(`The master on ${successor} leads already`, "wrong_state");
    const master = masters.find(({ name }) => name === successor);
    if (master === undefined) throw new OpPrereqError(`There is no master on ${successor}`, "unknown_entity");
    if (master.health !== "ok")
      throw new OpPrereqError(
        `The master on ${successor} cannot follow now: it is ${master.health}, look at its log`,
        "wrong_state",
      );
    handOver({ successor, graceMs });
    const before = leader?.epoch ?? 0;
    const deadline = performance.now() + graceMs + SUCCESSION_MS;
    while (performance.now() < deadline) {
      const current = await election.current().catch(() => undefined);
      if (current !== undefined && current.epoch > before) {
        if (current.holder === successor) return current.epoch;
        throw new OpExecError(`The master on ${current.holder} leads now, not the one on ${successor}`);
      }
      await delay(LOOK_MS);
    }
    throw new OpExecError(`No master has followed in time; look at the log of the one on ${successor}`);
  }
}

/**
 * Nothing of one that tells what this version does not understand.
 * @param here - what the asked master knows: its serial, and that which the other one should know by now
 */
function stateOf(
  { name, silentMs, told: text }: KnownMaster,
  { leader, serial, due }: { readonly leader: string | undefined; readonly serial: number; readonly due: number },
): MasterState[] {
  const parsed = told.safeParse(text).data;
  if (parsed === undefined) return [];
  const behind = Math.max(0, serial - parsed.serial);
  const health = silentMs > SILENCE_LIMIT_MS ? "silent" : parsed.serial < due ? "behind" : "ok";
  return [{ name, isLeader: name === leader, silentMs, behind, health, ...parsed }];
}
