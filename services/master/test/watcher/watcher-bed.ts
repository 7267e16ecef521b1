/** The watcher over the real executor, ledger, locks and notes, scripted nodes, and a clock that the test moves. */
import { RedisLeaderNotes } from "@gannet/config-store";
import type { Job } from "@gannet/job-ledger";
import type { InstanceState } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { OfflineNodes } from "../../src/watcher/offline-nodes.ts";
import { Watcher } from "../../src/watcher/watcher.ts";
import { WatcherHooks } from "../../src/watcher/watcher-hooks.ts";
import { recall, type WatcherMemory } from "../../src/watcher/watcher-memory.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "../logical-units/logical-unit-bed.ts";
import { guest, nodeState } from "../rapi/cluster-fixture.ts";

export const [NODE1, NODE2] = NODES;
const EPOCH = 1;
/** Between two rounds of the site's hooks. */
export const HOOKS_S = 300;

export class WatcherBed implements AsyncDisposable {
  readonly units: LogicalUnitBed;
  readonly notes: RedisLeaderNotes;
  nowMs = Date.UTC(2026, 0, 1);
  #watcher: Watcher;

  private constructor(units: LogicalUnitBed) {
    this.units = units;
    this.notes = new RedisLeaderNotes(units.redis.client);
    this.#watcher = this.watcher();
  }

  static async start(): Promise<WatcherBed> {
    return new WatcherBed(await startLogicalUnitBed());
  }

  /** Another one, as of a leader that follows. */
  watcher(epoch = EPOCH): Watcher {
    const { ledger, locks, configStore, live, nodes } = this.units;
    const settings = { enabled: true, intervalMs: 30_000, verifyDisksMs: 300_000, hooksMs: HOOKS_S * 1000 };
    const common = { configStore, live, fence: { epoch }, logger: silentLogger() };
    return new Watcher({
      ...{ ...common, settings, ledger, locks, notes: this.notes },
      offlineNodes: new OfflineNodes({ ...common, connectAgent: ({ name }) => nodes.named(name).client }),
      hooks: new WatcherHooks({ ...common, node: (uuid) => nodes.client(uuid), intervalMs: settings.hooksMs }),
      clock: () => this.nowMs,
    });
  }

  nextLeader(): void {
    this.#watcher = this.watcher();
  }

  pass(seconds: number): void {
    this.nowMs += seconds * 1000;
  }

  /** One look, half a minute after the last, and the ends of the jobs that it submitted. */
  async look(): Promise<readonly Job[]> {
    const before = await this.units.ledger.lastId();
    this.pass(30);
    await this.#watcher.look();
    const after = await this.units.ledger.lastId();
    const ids = Array.from({ length: after - before }, (_, index) => before + index + 1);
    return await Promise.all(ids.map((id) => this.units.ended(id)));
  }

  /** Looks until what was just found counts: the summaries of all jobs but verifications. */
  async looks(times = 2): Promise<readonly string[]> {
    const summaries: string[] = [];
    for (let look = 0; look < times; look += 1)
      summaries.push(...(await this.look()).flatMap(({ summary }) => summary));
    return summaries.filter((summary) => !summary.startsWith("GROUP_VERIFY_DISKS"));
  }

  memory(): Promise<WatcherMemory> {
    return recall(this.notes);
  }

  /** Why it waits with this instance, by its last look. */
  async waitOf(name: string): Promise<string | undefined> {
    return (await this.memory()).waits.find((wait) => wait.name === name)?.reason;
  }

  async create(name: string, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.units.succeed("OP_INSTANCE_CREATE", {
      ...{ instance_name: name, mode: "create", disk_template: "plain", disks: [{ size: 1024 }], nics: [{}] },
      ...{ os_type: "noop", pnode: NODE1, hypervisor: "fake", ...more },
    });
  }

  async removeAll(): Promise<void> {
    for (const { name } of [...this.units.view.instances.values()])
      await this.units.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  }

  /** What its agent says of a guest. */
  seen(name: string, more: Partial<InstanceState>): void {
    this.units.live.noteInstance(this.units.instance(name).primaryNode, guest(name, more));
  }

  statusOf(name: string): string | undefined {
    return this.units.live.instance(name, this.units.instance(name).primaryNode)?.state.status;
  }

  reboot(node: string, bootId: string): void {
    const value = nodeState(node, { bootId });
    this.units.live.apply(this.units.uuidOf(node), { update: { $case: "node", value } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.units[Symbol.asyncDispose]();
  }
}
