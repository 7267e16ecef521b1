/** The jobs of a run, drawn from its seed: what fifty instances go through, and waits on nodes beside it. */
import { DOMAIN } from "../../deploy/one-machine/layout.ts";
import { NODES, SLOW_OS } from "./fault-cluster.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** One job, as a request of the remote API or, for what that has no resource for, as opcodes. */
export type PlannedJob = { readonly kind: string } & (
  | { readonly via: "rapi"; readonly method: string; readonly resource: string; readonly body?: unknown }
  | { readonly via: "ledger"; readonly opcodes: readonly Readonly<Record<string, unknown>>[] }
);

interface PlannedInstance {
  readonly name: string;
  readonly node: string;
  exists: boolean;
}

const INSTANCES = 50;
const MEMORY_MIB = 16;
const LONGEST_WAIT_MS = 300;
/** From before a fault until after it. */
const BURST_MS = 2_500;

/** Draws jobs that make sense if those before them succeed, which under faults not all do. */
export class Load {
  readonly #random: SeededRandom;
  readonly #instances: readonly PlannedInstance[];

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#instances = Array.from({ length: INSTANCES }, (_, index) => ({
      name: `load${index + 1}.${DOMAIN}`,
      node: `${random.pick(NODES)}.${DOMAIN}`,
      exists: false,
    }));
  }

  /** What there is in truth, after jobs have failed. */
  learn(names: readonly string[]): void {
    for (const instance of this.#instances) instance.exists = names.includes(instance.name);
  }

  /** @returns a job, and when it is submitted: at some moment of its burst */
  next(): { readonly job: PlannedJob; readonly afterMs: number } {
    return { job: this.#draw(), afterMs: this.#random.integer(0, BURST_MS) };
  }

  #draw(): PlannedJob {
    if (this.#random.chance(0.15)) return this.#delay();
    const instance = this.#random.pick(this.#instances);
    if (!instance.exists) return this.#create(instance);
    if (this.#random.chance(0.15)) return this.#remove(instance);
    return this.#random.pick(CHANGES)(instance.name, this.#random);
  }

  #create(instance: PlannedInstance): PlannedJob {
    instance.exists = true;
    const disks = this.#random.chance(0.4) ? [{ size: this.#random.integer(1, 4) }] : [];
    const body = {
      __version__: 1,
      mode: "create",
      instance_name: instance.name,
      disk_template: disks.length > 0 ? "file" : "diskless",
      disks,
      nics: [{}],
      os_type: SLOW_OS,
      pnode: instance.node,
      hypervisor: "fake",
      beparams: { memory: MEMORY_MIB },
      start: this.#random.chance(0.6),
      name_check: false,
      ip_check: false,
    };
    return { kind: `create ${body.disk_template}`, via: "rapi", method: "POST", resource: "/2/instances", body };
  }

  #remove(instance: PlannedInstance): PlannedJob {
    instance.exists = false;
    return removal(instance.name);
  }

  #delay(): PlannedJob {
    const wait = {
      OP_ID: "OP_TEST_DELAY",
      duration: this.#random.integer(0, LONGEST_WAIT_MS) / 1000,
      on_master: this.#random.chance(0.5),
      on_nodes: [`${this.#random.pick(NODES)}.${DOMAIN}`],
      no_locks: this.#random.chance(0.5),
    };
    const opcodes = this.#random.chance(0.3) ? [wait, { ...wait, no_locks: true }] : [wait];
    return { kind: wait.no_locks ? "delay" : "delay with locks", via: "ledger", opcodes };
  }
}

export function removal(name: string): PlannedJob {
  const body = { shutdown_timeout: 0 };
  return { kind: "remove", via: "rapi", method: "DELETE", resource: `/2/instances/${name}`, body };
}

/** What is done to an instance that is there. */
const CHANGES: readonly ((name: string, random: SeededRandom) => PlannedJob)[] = [
  (name) => on(name, { kind: "startup", method: "PUT", what: "startup" }),
  (name) => on(name, { kind: "shutdown", method: "PUT", what: "shutdown", body: { timeout: 0 } }),
  (name, random) => {
    const type = random.pick(["soft", "hard", "full"]);
    return on(name, {
      kind: `reboot ${type}`,
      method: "POST",
      what: `reboot?type=${type}`,
      body: { shutdown_timeout: 0 },
    });
  },
  (name, random) => on(name, { kind: "add tag", method: "PUT", what: `tags?tag=t${random.integer(1, 5)}` }),
];

function on(
  name: string,
  { kind, method, what, body }: { kind: string; method: string; what: string; body?: unknown },
): PlannedJob {
  return { kind, via: "rapi", method, resource: `/2/instances/${name}/${what}`, body };
}
