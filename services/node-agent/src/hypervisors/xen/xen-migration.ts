/** Guests that move: the driver's part on both nodes. */
import { setTimeout as delay } from "node:timers/promises";
import type { GuestSpec, MigrationProgress, MigrationTarget } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { z } from "zod";
import { checkGuestName } from "../guest-name.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import type { NodeIdentity } from "../socat-address.ts";
import { type DomainLife, GONE_AWAY, INCOMING, running } from "./domain-life.ts";
import type { XenDomain } from "./domain-list.ts";
import type { GuestPlaces } from "./guest-places.ts";
import type { GuestPlanner } from "./guest-plan.ts";
import { findReceiver, type GuestReceiver, receiveGuest } from "./guest-receiver.ts";
import type { ArrivingRecord, RunningRecord } from "./guest-record.ts";
import {
  breakOff,
  followGuest,
  type SenderFiles,
  type SenderNews,
  senderOf,
  sendGuest,
  waitForEnd,
} from "./guest-sender.ts";
import { renameArgv } from "./toolstack.ts";
import type { XenCommands } from "./xen-commands.ts";
import { type Domains, domainOf, isUp, type XenGuests } from "./xen-guests.ts";
import type { XenOptions } from "./xen-options.ts";
import { runs, untilEnded } from "./xl-processes.ts";

/** The receiving `xl` gives the guest its name after the sending one has ended. */
const NAMED_WITHIN_MS = 15_000;
const LOOK_MS = 200;
const NEVER = new AbortController().signal;

/** What the target is told, by way of the master. */
const migrationInfo = z.object({
  version: z.literal(1),
  uuid: z.string(),
  sourceNode: z.string(),
  startedAtMs: z.int(),
});

/** Of a guest that had been sent before. */
export const MOVED: MigrationProgress = {
  status: "completed",
  transferredBytes: 0,
  totalBytes: 0,
  downtimeMs: null,
  problem: "",
};

export interface XenMigrationParts {
  readonly parts: HypervisorParts;
  readonly xen: XenOptions;
  readonly commands: XenCommands;
  readonly guests: XenGuests;
  readonly life: DomainLife;
  readonly places: GuestPlaces;
  readonly planner: GuestPlanner;
}

export class XenMigration {
  readonly #all: XenMigrationParts;
  readonly #receivers = new Map<string, GuestReceiver>();
  readonly #closing = new AbortController();

  constructor(parts: XenMigrationParts) {
    this.#all = parts;
  }

  info({ guest, startedAtMs }: RunningRecord): string {
    return JSON.stringify({ version: 1, uuid: guest.uuid, sourceNode: this.#identity().nodeName, startedAtMs });
  }

  hasLeft(guestName: string): boolean {
    return this.#all.guests.get(guestName)?.phase === "left";
  }

  /** A guest that has moved, or just comes, would run twice. @throws HypervisorError */
  refuseStart(guestName: string, domain: XenDomain | undefined): void {
    const phase = this.#all.guests.get(guestName)?.phase;
    if (phase === "left") throw new HypervisorError(`Instance ${guestName} has been sent to another node`);
    if (this.#isLeaving(guestName) && domain === undefined)
      throw new HypervisorError(`Instance ${guestName} is being sent to another node; its migration is to be finished`);
    if (phase === "arriving" && domain !== undefined)
      throw new HypervisorError(
        `Instance ${guestName} has just come from another node; its migration is to be finished`,
      );
  }

  /** Repeated, it takes the place of what was prepared before. */
  async accept(
    guest: GuestSpec,
    { info, address }: { readonly info: string; readonly address: string },
    signal: AbortSignal,
  ): Promise<number> {
    const { guests, life, places, planner, commands } = this.#all;
    const plan = await planner.plan(guest);
    commands.use(plan.toolstack);
    this.#identity();
    const { sourceNode, startedAtMs } = parseInfo(info, guest);
    const domains = await guests.look(signal);
    const domain = domains.get(guest.name);
    if (domain !== undefined && isUp(domain))
      throw new HypervisorError(`A domain called ${guest.name} runs on this node already (domain ${domain.id})`);
    if (guests.get(guest.name)?.phase === "saved")
      throw new HypervisorError(`Instance ${guest.name} is saved on this node: restore or stop it first`);
    await this.#closeReceiver(guest.name);
    await life.remove(guest.name, domains);
    try {
      await places.write(guest, plan.config);
      const { port } = await this.#listen(
        guest.name,
        { sourceNode, address, firstPort: plan.params.migration_port },
        signal,
      );
      await guests.write({ version: 1, guest, phase: "arriving", startedAtMs, sourceNode, address, port });
      return port;
    } catch (error) {
      await this.#closeReceiver(guest.name);
      await life.remove(guest.name);
      throw error;
    }
  }

  /** After a restart of the agent, unless the guest has come already. @throws HypervisorError */
  async listenAgain({ guest, sourceNode, address, port }: ArrivingRecord): Promise<void> {
    const { guests } = this.#all;
    const left = await findReceiver(this.#receiverInput({ sourceNode, address }), port);
    if (left !== undefined) {
      this.#receivers.set(guest.name, left);
      return;
    }
    if ((await guests.look()).has(guest.name)) return;
    await this.#listen(guest.name, { sourceNode, address, firstPort: port }, NEVER);
  }

  /** Told as over only when Xen no longer lists the guest here. */
  async *send(guestName: string, target: MigrationTarget, signal: AbortSignal): AsyncGenerator<MigrationProgress> {
    const { xen, parts, guests } = this.#all;
    const record = guests.running(guestName);
    if (signal.aborted || record === undefined) {
      yield { ...MOVED, status: "cancelled" };
      return;
    }
    await guests.write({ ...record, leaving: "sent" });
    const news = sendGuest(
      parts.runner,
      {
        socatPath: xen.socatPath,
        toolstack: this.#all.commands.toolstack,
        identity: this.#identity(),
        target,
        guestName,
        ...this.#files(guestName),
      },
      signal,
    );
    yield* this.#told(guestName, news, signal);
  }

  isSending(guestName: string): Promise<boolean> {
    return runs(senderOf(this.#files(guestName)));
  }

  /** What an earlier life of the agent began to send. */
  async *follow(guestName: string, signal: AbortSignal): AsyncGenerator<MigrationProgress> {
    yield* this.#told(guestName, followGuest(this.#files(guestName), signal), signal);
  }

  /** Resolves when nothing sends the guest any more, or the driver is closed. */
  async untilSent(guestName: string): Promise<void> {
    await untilEnded(senderOf(this.#files(guestName)), this.#closing.signal);
  }

  /** Note what has become of a guest that an earlier life of the agent was sending. */
  async conclude(guestName: string): Promise<void> {
    if (this.#closing.signal.aborted || !this.#isLeaving(guestName)) return;
    if (await this.isSending(guestName)) return;
    const { status, problem } = await this.#outcome(guestName, undefined, NEVER);
    this.#all.parts.logger.warn({ instance: guestName, status, problem }, "a migration ended while nobody waited");
  }

  async *#told(
    guestName: string,
    news: AsyncGenerator<SenderNews>,
    signal: AbortSignal,
  ): AsyncGenerator<MigrationProgress> {
    for await (const each of news) {
      const { transferredBytes, totalBytes } = each;
      const progress = { transferredBytes, totalBytes, downtimeMs: null };
      if (each.kind === "sending") yield { ...progress, status: "active", problem: "" };
      else yield { ...progress, ...(await this.#outcome(guestName, each.problem, signal)) };
    }
  }

  /** On the source, when the guest has gone. @throws HypervisorError when it runs here */
  async letGo(guestName: string, signal: AbortSignal): Promise<void> {
    const { guests, life } = this.#all;
    if (this.#isLeaving(guestName)) await waitForEnd(this.#files(guestName));
    const domains = await guests.look(signal);
    const domain = domains.get(guestName);
    // Suspended, it is what `xl` leaves when it does not hear of the guest's arrival.
    if (domain !== undefined && isUp(domain) && domain.status !== "suspended")
      throw new HypervisorError(`Instance ${guestName} runs on this node: it has not moved`);
    await life.remove(guestName, domains);
  }

  /** On the source, when the target was asked and has not got the guest: it goes on, and stays the driver's. One that is lost is forgotten. */
  async restore(guestName: string, signal: AbortSignal): Promise<void> {
    const { guests, life } = this.#all;
    const record = guests.get(guestName);
    if (this.#isLeaving(guestName)) await breakOff(this.#files(guestName));
    const domains = await this.#withOwnName(guestName, signal);
    if (record?.phase === "left" && !domains.has(guestName)) {
      await life.remove(guestName, domains);
      return;
    }
    await this.#stayed(guestName, domains);
  }

  /** On the target, when the guest has come. */
  async takeOver(guest: GuestSpec, signal: AbortSignal): Promise<void> {
    const { guests } = this.#all;
    if (guests.running(guest.name) !== undefined) return;
    const domain = await this.#arrived(guest, signal);
    const record = guests.get(guest.name);
    await guests.write(running(guest, domain, record?.phase === "arriving" ? record.startedAtMs : Date.now()));
    await this.#closeReceiver(guest.name);
  }

  /**
   * On the target, when it has not: nothing of it stays.
   * @throws HypervisorError when it runs here: that may be the only one there is
   */
  async refuse(guest: GuestSpec, signal: AbortSignal): Promise<void> {
    const { guests, life } = this.#all;
    await this.#closeReceiver(guest.name);
    const domains = await guests.look(signal);
    const domain = domainOf(guest, domains);
    if (domain !== undefined && isUp(domain))
      throw new HypervisorError(`Instance ${guest.name} has come and runs on this node, which cannot be taken back`);
    await life.remove(guest.name, domains);
  }

  /** Guests on their way come and go on; the next life of the agent takes them up. */
  close(): void {
    this.#closing.abort();
    this.#receivers.clear();
  }

  async #outcome(
    guestName: string,
    problem: string | undefined,
    signal: AbortSignal,
  ): Promise<Pick<MigrationProgress, "status" | "problem">> {
    const domains = await this.#all.guests.look();
    // `xl` gives the domain this name before it allows the target to let the guest go on, and its own again when the
    // target said that it could not. Left with this name, the guest may run there: only who has asked may resume it.
    if (domains.has(GONE_AWAY(guestName)) && !domains.has(guestName))
      return {
        status: "failed",
        problem: `it is not known whether ${guestName} has arrived: ${problem ?? "the command that sent it was killed"}`,
      };
    if (!domains.has(guestName) && problem === undefined) {
      const record = this.#all.guests.running(guestName);
      if (record !== undefined) await this.#all.guests.write({ version: 1, guest: record.guest, phase: "left" });
      return { status: "completed", problem: "" };
    }
    const stands = await this.#stayed(guestName, domains);
    if (!domains.has(guestName)) return lost(guestName, problem ?? "");
    if (signal.aborted && stands === "") return { status: "cancelled", problem: "" };
    const told = problem ?? `Xen said that ${guestName} has moved, but still lists it here`;
    return { status: "failed", problem: stands === "" ? told : `${told}; ${stands}` };
  }

  /** @returns the domains, among which the guest bears its own name again if it is here */
  async #withOwnName(guestName: string, signal: AbortSignal): Promise<Domains> {
    const { commands, guests } = this.#all;
    const domains = await guests.look(signal);
    if (!domains.has(GONE_AWAY(guestName)) || domains.has(guestName)) return domains;
    const argv = renameArgv(commands.toolstack, GONE_AWAY(guestName), guestName);
    await commands.run(`give ${guestName} its name again`, argv, { signal });
    return guests.look(signal);
  }

  /** It is not on its way any more. @returns why it stands still, or nothing */
  async #stayed(guestName: string, domains: Domains): Promise<string> {
    const { guests, life } = this.#all;
    const record = guests.running(guestName);
    if (record?.leaving === "saved") return "";
    if (record?.leaving === "sent") await guests.write({ ...record, leaving: null });
    return life.resume(guestName, domains);
  }

  #isLeaving(guestName: string): boolean {
    return this.#all.guests.running(guestName)?.leaving === "sent";
  }

  #files(guestName: string): SenderFiles {
    const { places } = this.#all;
    return {
      configFile: places.configFile(guestName),
      logFile: places.logFile(guestName),
      lockFile: places.lockFile(guestName),
    };
  }

  async #arrived(guest: GuestSpec, signal: AbortSignal): Promise<XenDomain> {
    const deadline = performance.now() + NAMED_WITHIN_MS;
    for (;;) {
      const domains = await this.#all.guests.look(signal);
      const domain = domainOf(guest, domains);
      if (domain !== undefined && isUp(domain)) return domain;
      const comes = domains.has(INCOMING(guest.name));
      if (!comes || signal.aborted || performance.now() >= deadline)
        throw new HypervisorError(`Instance ${guest.name} has not arrived on this node`);
      await delay(LOOK_MS);
    }
  }

  async #listen(
    guestName: string,
    from: { readonly sourceNode: string; readonly address: string; readonly firstPort: number },
    signal: AbortSignal,
  ): Promise<GuestReceiver> {
    const { places, parts } = this.#all;
    const input = { ...this.#receiverInput(from), logFile: places.logFile(guestName) };
    const receiver = await receiveGuest(parts.runner, input, from.firstPort, signal);
    this.#receivers.set(guestName, receiver);
    return receiver;
  }

  #receiverInput({ sourceNode, address }: { readonly sourceNode: string; readonly address: string }) {
    const { xen, commands } = this.#all;
    const identity = this.#identity();
    return { socatPath: xen.socatPath, toolstackPath: commands.toolstack.path, identity, sourceNode, address };
  }

  async #closeReceiver(guestName: string): Promise<void> {
    await this.#receivers.get(guestName)?.close();
    this.#receivers.delete(guestName);
  }

  /** @throws HypervisorError where guests cannot move */
  #identity(): NodeIdentity {
    const { parts, commands } = this.#all;
    if (commands.toolstack.kind === "xm")
      throw new HypervisorError("Guests move with Xen's xl command only: xm would send their memory for all to read");
    const { nodeName, pkiDir } = parts.options;
    if (nodeName === undefined || pkiDir === undefined)
      throw new HypervisorError("Guests cannot move to or from this node: it has no certificate for that");
    return { nodeName, pkiDir };
  }
}

/** `xl` failed, and the guest is not here: it may run on the target, or nowhere. */
function lost(guestName: string, problem: string): Pick<MigrationProgress, "status" | "problem"> {
  return { status: "failed", problem: `${guestName} is no longer on this node: ${problem}` };
}

/** @throws HypervisorError when another version of the agent, or another guest, is meant */
function parseInfo(text: string, { name, uuid }: GuestSpec): z.output<typeof migrationInfo> {
  try {
    const info = migrationInfo.parse(JSON.parse(text));
    checkGuestName(info.sourceNode);
    if (info.uuid !== uuid) throw new HypervisorError(`${name} is ${uuid} here, and ${info.uuid} there`);
    return info;
  } catch (error) {
    throw new HypervisorError("What the other node tells of the guest cannot be understood", { cause: error });
  }
}
