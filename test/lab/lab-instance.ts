/** An instance of a scenario, whose guest counts on its disk (guest/counter.asm). */
import { setTimeout as delay } from "node:timers/promises";
import type { DiskTemplate } from "@gannet/objects";
import { type Counter, parseCounter, readCounterScript } from "./guest/counter.ts";
import type { Lab, NodeInLab } from "./lab.ts";

export interface InstanceRequest {
  readonly name: string;
  readonly template: DiskTemplate;
  readonly primary: NodeInLab;
  readonly secondary?: NodeInLab;
  readonly sizeMib?: number;
  /** Over those that every instance of the lab is asked for with. */
  readonly body?: Readonly<Record<string, unknown>>;
}

interface DiskInfo {
  readonly dev_type: string;
  readonly logical_id: readonly (string | number)[];
  readonly drbd_info: {
    readonly primary_node: string;
    readonly primary_minor: number;
    readonly secondary_minor: number;
    readonly port: number;
  } | null;
  readonly size: number;
  /** What the primary node says of it: path, major, minor, percent in sync, seconds left, degraded, local disk. */
  readonly pstatus: readonly (string | number | boolean | null)[] | null;
  /** The same of the secondary. */
  readonly sstatus: readonly (string | number | boolean | null)[] | null;
}

/** The guest is small, has no operating system that could obey, and nobody looks at its screen. */
const DEFAULTS = {
  __version__: 1,
  mode: "create",
  os_type: "counter",
  nics: [{}],
  beparams: { memory: 32, vcpus: 1 },
  hypervisor: "kvm",
  hvparams: { boot_order: "disk", vnc_bind_address: "", kernel_path: "" },
} as const;

/** Numbers that the guest writes until it is believed to run. */
const PROOF = 5;
const COUNT_TIMEOUT_MS = 180_000;

export class LabInstance {
  readonly name: string;
  readonly #lab: Lab;

  private constructor(lab: Lab, name: string) {
    this.#lab = lab;
    this.name = name;
  }

  /** A job of the remote API that must succeed. */
  static async create(lab: Lab, request: InstanceRequest): Promise<LabInstance> {
    await lab.rapi.succeed("POST", "/2/instances", creationBody(request));
    return new LabInstance(lab, request.name);
  }

  /** Ask for it without waiting. @returns the job */
  static async request(lab: Lab, request: InstanceRequest): Promise<number> {
    const { status, body } = await lab.rapi.rapi("POST", "/2/instances", { body: creationBody(request) });
    if (status !== 200) throw new Error(`POST /2/instances: ${status} ${JSON.stringify(body)}`);
    return body as number;
  }

  get resource(): string {
    return `/2/instances/${this.name}`;
  }

  /** A job on the instance that must succeed: `PUT /2/instances/NAME/startup`. */
  async change(method: "PUT" | "POST" | "DELETE", what: string, body?: unknown): Promise<void> {
    await this.#lab.rapi.succeed(method, `${this.resource}${what}`, body);
  }

  /** The guest cannot obey: it is killed at once. */
  async stop(): Promise<void> {
    await this.change("PUT", "/shutdown", { timeout: 0 });
  }

  async start(): Promise<void> {
    await this.change("PUT", "/startup");
  }

  /** Live, to its other node. @returns how long the guest stood still, where its hypervisor tells */
  async migrate(): Promise<{ readonly downtimeMs: number | undefined }> {
    const { oplog } = await this.#lab.rapi.succeed("PUT", `${this.resource}/migrate`, { mode: "live" });
    const downtime = /stood still for (\d+) ms/.exec(JSON.stringify(oplog))?.[1];
    return { downtimeMs: downtime === undefined ? undefined : Number(downtime) };
  }

  async remove(): Promise<void> {
    await this.change("DELETE", "", { shutdown_timeout: 0 });
  }

  /** Its row in the remote API. */
  async row(): Promise<Readonly<Record<string, unknown>>> {
    const { status, body } = await this.#lab.rapi.rapi("GET", this.resource);
    if (status !== 200) throw new Error(`${this.resource}: ${status} ${JSON.stringify(body)}`);
    return body as Readonly<Record<string, unknown>>;
  }

  async primary(): Promise<NodeInLab> {
    return this.#lab.node(String((await this.row()).pnode));
  }

  /** @param asked - the configuration alone, or also its nodes */
  async disk(
    index = 0,
    { asked = "configuration" }: { readonly asked?: "configuration" | "nodes" } = {},
  ): Promise<DiskInfo> {
    const query = asked === "configuration" ? "?static=1" : "";
    const job = await this.#lab.rapi.succeed("GET", `${this.resource}/info${query}`);
    const info = job.opresult[0] as Readonly<Record<string, { readonly disks: readonly DiskInfo[] }>>;
    const disk = info[this.name]?.disks[index];
    if (disk === undefined) throw new Error(`${this.name} has no disk ${index}`);
    return disk;
  }

  /** Where a disk is on one of its nodes. */
  async device(node: NodeInLab, index = 0): Promise<string> {
    const { dev_type: template, logical_id: id, drbd_info: drbd } = await this.disk(index);
    if (drbd !== null) return `/dev/drbd${drbd.primary_node === node.name ? drbd.primary_minor : drbd.secondary_minor}`;
    return template === "plain" ? `/dev/${id[0]}/${id[1]}` : String(id[1]);
  }

  /**
   * Wait until the guest has written some more numbers than `since`, in the same run.
   * @throws Error when it does not, or was booted meanwhile
   */
  async counts(since: Counter = { boots: 1, count: 0 }): Promise<Counter> {
    return await this.#counted(since.boots, since.count + PROOF);
  }

  /** Wait until the guest counts in the run after its n-th boot from this disk. @throws Error as `counts` */
  async countsAfterBoot(boots: number): Promise<Counter> {
    return await this.#counted(boots, PROOF);
  }

  async #counted(boots: number, count: number): Promise<Counter> {
    const node = await this.primary();
    const script = readCounterScript(await this.device(node));
    const deadline = performance.now() + COUNT_TIMEOUT_MS;
    let seen: Counter | undefined;
    while (performance.now() < deadline) {
      seen = parseCounter(await node.machine.run(script));
      if (seen !== undefined && seen.boots > boots) break;
      if (seen?.boots === boots && seen.count >= count) return seen;
      await delay(100);
    }
    throw new Error(
      `${this.name} does not count to ${count} after boot ${boots} on ${node.name}: ${JSON.stringify(seen)}`,
    );
  }
}

function creationBody({ name, template, primary, secondary, sizeMib = 64, body }: InstanceRequest): unknown {
  return {
    ...DEFAULTS,
    instance_name: name,
    disk_template: template,
    disks: [{ size: sizeMib }],
    pnode: primary.name,
    ...(secondary === undefined ? {} : { snode: secondary.name }),
    ...body,
  };
}
