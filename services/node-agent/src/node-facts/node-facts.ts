/** Everything this node tells of itself. */
import {
  type BlockDeviceDriver,
  canHypervisor,
  type GuestState,
  type HostResources,
  type HypervisorDriver,
  type StorageSpace,
} from "@gannet/driver-contract";
import { bootId } from "@gannet/exec";
import type { HypervisorName } from "@gannet/objects";
import type { HypervisorFacts, NodeState } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import { AGENT_VERSION } from "../agent-version.ts";
import { GANETI_EXT_STORAGE_SEARCH_PATH } from "../block-devices/ext/provider.ts";
import { describeProviders } from "../block-devices/ext/provider-facts.ts";
import { readBridges } from "./bridges.ts";
import { type HostMemory, readMemory } from "./memory.ts";
import { readProcessors } from "./processors.ts";

export interface NodeFactsParts {
  readonly nodeName: string;
  readonly hypervisors: ReadonlyMap<HypervisorName, HypervisorDriver>;
  readonly blockDevices: readonly BlockDeviceDriver[];
  /** Physical volumes, counted (`NodeStorage.spindles`). */
  readonly spindles: (signal: AbortSignal) => Promise<readonly StorageSpace[]>;
  readonly logger: Logger;
}

/** The part of a node's state that tells of its memory and processors. */
type MachineFacts = Pick<NodeState, keyof HostResources>;

/**
 * Their guests hold no memory of the host. Ganeti takes it off by account nevertheless, which would let a machine
 * of 24 GB try out 170 guests at most; here what is reported free is free.
 */
const HYPERVISORS_WITHOUT_MEMORY: readonly HypervisorName[] = ["fake"];
/** What a node keeps for itself in Ganeti's model; processors are not set aside. */
const NODE_PROCESSORS = 1;
/** Asking a hypervisor runs its program; versions change with the administrator's updates. */
const HYPERVISOR_FACTS_MAX_AGE_MS = 10 * 60 * 1000;

export class NodeFacts {
  readonly #parts: NodeFactsParts;
  #space: readonly StorageSpace[] | undefined;
  #hypervisors: { readonly at: number; readonly facts: readonly HypervisorFacts[] } | undefined;

  constructor(parts: NodeFactsParts) {
    this.#parts = parts;
  }

  /** Freshly read, the hypervisors asked again. @param options - as of {@link read} */
  async describe(signal: AbortSignal, options: { readonly space: "read" | "known" }): Promise<NodeState> {
    this.#hypervisors = undefined;
    return this.read(await this.#guests(), signal, options);
  }

  /**
   * Freshly read but for the hypervisors' versions. `guests` are all that run here.
   * @param space - of the storage: telling it runs commands. `read`: the drivers are asked, of which LVM's may answer
   *   what it has read seconds ago (`Lvm.knownStorage`). `known`: as it was when they were asked last
   */
  async read(
    guests: readonly GuestState[],
    signal: AbortSignal,
    { space = "read" }: { readonly space?: "read" | "known" } = {},
  ): Promise<NodeState> {
    if (space === "read") this.#space = undefined;
    const [machine, bridges, storage, hypervisors, extStorage] = await Promise.all([
      this.#machine(guests, signal),
      readBridges(),
      this.#space ?? this.#storage(signal),
      this.#hypervisorFacts(signal),
      describeProviders(GANETI_EXT_STORAGE_SEARCH_PATH),
    ]);
    this.#space = storage;
    return {
      nodeName: this.#parts.nodeName,
      bootId: bootId(),
      ...machine,
      storage: [...storage],
      hypervisors: [...hypervisors],
      agentVersion: AGENT_VERSION,
      clockMs: Date.now(),
      bridges: [...bridges],
      extStorage: [...extStorage],
    };
  }

  /** By a hypervisor that knows the machine better than the node's own kernel, else by the kernel. */
  async #machine(guests: readonly GuestState[], signal: AbortSignal): Promise<MachineFacts> {
    for (const driver of this.#parts.hypervisors.values()) {
      if (!canHypervisor(driver, "hostResources")) continue;
      try {
        return await driver.hostResources(signal);
      } catch (error) {
        signal.throwIfAborted();
        // Its own facts tell of the problem; the kernel's share of the machine is the most that is certain.
        this.#parts.logger.warn({ hypervisor: driver.name, error: String(error) }, "the machine cannot be measured");
        break;
      }
    }
    const [memory, processors] = await Promise.all([readMemory(), readProcessors()]);
    return {
      ...memoryUse(memory, guests),
      cpuTotal: processors.total,
      cpuSockets: processors.sockets,
      cpuNumaNodes: processors.numaNodes,
      cpuNode: NODE_PROCESSORS,
    };
  }

  async #guests(): Promise<readonly GuestState[]> {
    return (await Promise.all([...this.#parts.hypervisors.values()].map((driver) => driver.list()))).flat();
  }

  /** One entry a unit; templates that share a storage tell of it once. */
  async #storage(signal: AbortSignal): Promise<readonly StorageSpace[]> {
    const spaces = await Promise.all([
      ...this.#parts.blockDevices.map((driver) => this.#spaceOf(driver, signal)),
      this.#countedSpindles(signal),
    ]);
    return [...new Map(spaces.flat().map((space) => [`${space.type} ${space.name}`, space])).values()];
  }

  async #countedSpindles(signal: AbortSignal): Promise<readonly StorageSpace[]> {
    try {
      return await this.#parts.spindles(signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#parts.logger.warn({ error: String(error) }, "physical volumes cannot be counted");
      return [];
    }
  }

  /** A storage that cannot be read must not hide the rest of the node. */
  async #spaceOf(driver: BlockDeviceDriver, signal: AbortSignal): Promise<readonly StorageSpace[]> {
    try {
      return await driver.space(signal);
    } catch (error) {
      this.#parts.logger.warn({ template: driver.template, error: String(error) }, "storage space cannot be read");
      return [];
    }
  }

  async #hypervisorFacts(signal: AbortSignal): Promise<readonly HypervisorFacts[]> {
    const known = this.#hypervisors;
    if (known !== undefined && Date.now() - known.at < HYPERVISOR_FACTS_MAX_AGE_MS) return known.facts;
    const facts = await Promise.all([...this.#parts.hypervisors.values()].map((driver) => factsOf(driver, signal)));
    this.#hypervisors = { at: Date.now(), facts };
    return facts;
  }
}

async function factsOf(driver: HypervisorDriver, signal: AbortSignal): Promise<HypervisorFacts> {
  try {
    return { ...(await driver.describe(signal)), problem: "" };
  } catch (error) {
    signal.throwIfAborted();
    const problem = error instanceof Error ? error.message : String(error);
    return { name: driver.name, version: "", accelerated: false, problem };
  }
}

/**
 * What is free, and what the node itself uses. A guest may not have touched all its memory yet, so the node's own
 * use is a lower bound.
 */
export function memoryUse(
  host: HostMemory,
  guests: readonly Pick<GuestState, "hypervisor" | "memoryMib">[],
): Pick<NodeState, "memoryTotalMib" | "memoryFreeMib" | "memoryNodeMib"> {
  const used = guests
    .filter((guest) => !HYPERVISORS_WITHOUT_MEMORY.includes(guest.hypervisor))
    .reduce((total, guest) => total + guest.memoryMib, 0);
  return {
    memoryTotalMib: host.totalMib,
    memoryFreeMib: host.availableMib,
    memoryNodeMib: Math.max(0, host.totalMib - host.availableMib - used),
  };
}
