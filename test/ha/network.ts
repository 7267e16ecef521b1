/**
 * Machines of a cluster as network namespaces of this one. Each has an address in the cluster's network, whose cable can
 * be pulled, and one in another network, by which the test reaches it even then. Needs root.
 */
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { promisify } from "node:util";

const execute = promisify(execFile);
const IP = "/sbin/ip";
/** Of the test itself, in both networks. */
const OWN_HOST = 254;
/** Of the cluster. */
const CLUSTER_HOST = 100;
/** Interface of a machine in the cluster's network. */
export const CLUSTER_DEVICE = "eth0";

export class Network implements AsyncDisposable {
  readonly #id: string;
  readonly #subnet: number;
  readonly #size: number;

  private constructor(size: number) {
    this.#subnet = randomInt(1, 255);
    this.#id = randomInt(36 ** 4)
      .toString(36)
      .padStart(4, "0");
    this.#size = size;
  }

  static async create(size: number): Promise<Network> {
    const network = new Network(size);
    try {
      await network.#make();
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** In the cluster's network. @param machine - from 1 */
  address(machine: number): string {
    return `10.199.${this.#subnet}.${machine}`;
  }

  /** By which the test reaches the machine, whatever cable is pulled. */
  sideAddress(machine: number): string {
    return `10.198.${this.#subnet}.${machine}`;
  }

  /** The cluster's own. */
  get clusterAddress(): string {
    return this.address(CLUSTER_HOST);
  }

  namespace(machine: number): string {
    return `gannet-ha-${this.#id}-${machine}`;
  }

  /** From the cluster's network, in both directions. */
  async pullCable(machine: number): Promise<void> {
    await ip("link", "set", this.#port("c", machine), "down");
  }

  async plugCable(machine: number): Promise<void> {
    await ip("link", "set", this.#port("c", machine), "up");
  }

  /** From its interface there, where it may be. */
  async takeAddress(machine: number, address: string): Promise<void> {
    const held = await this.addressesOf(machine);
    if (!held.includes(address)) return;
    await ip("-n", this.namespace(machine), "address", "del", `${address}/32`, "dev", CLUSTER_DEVICE);
  }

  /** The addresses that a machine has on its interface in the cluster's network. */
  async addressesOf(machine: number): Promise<readonly string[]> {
    const shown = await ip("-n", this.namespace(machine), "-o", "-4", "address", "show", "dev", CLUSTER_DEVICE);
    return [...shown.matchAll(/ inet ([\d.]+)/g)].flatMap(([, address = ""]) => address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // With a namespace its end of each pair goes, and the other end with it.
    for (let machine = 1; machine <= this.#size; machine++)
      await ip("netns", "del", this.namespace(machine)).catch(gone);
    for (const kind of ["c", "s"] as const) await ip("link", "del", this.#bridge(kind)).catch(gone);
  }

  async #make(): Promise<void> {
    for (const [kind, own] of [["c", this.address(OWN_HOST)] as const, ["s", this.sideAddress(OWN_HOST)] as const]) {
      await ip("link", "add", this.#bridge(kind), "type", "bridge");
      await ip("address", "add", `${own}/24`, "dev", this.#bridge(kind));
      await ip("link", "set", this.#bridge(kind), "up");
    }
    for (let machine = 1; machine <= this.#size; machine++) {
      const namespace = this.namespace(machine);
      await ip("netns", "add", namespace);
      await ip("-n", namespace, "link", "set", "lo", "up");
      await this.#connect("c", machine, CLUSTER_DEVICE, this.address(machine));
      await this.#connect("s", machine, "side0", this.sideAddress(machine));
    }
  }

  async #connect(kind: "c" | "s", machine: number, device: string, address: string): Promise<void> {
    const [namespace, port] = [this.namespace(machine), this.#port(kind, machine)];
    await ip("link", "add", port, "type", "veth", "peer", "name", device, "netns", namespace);
    await ip("link", "set", port, "master", this.#bridge(kind), "up");
    await ip("-n", namespace, "address", "add", `${address}/24`, "dev", device);
    await ip("-n", namespace, "link", "set", device, "up");
  }

  #bridge(kind: "c" | "s"): string {
    return `gha${this.#id}${kind}`;
  }

  #port(kind: "c" | "s", machine: number): string {
    return `gha${this.#id}${kind}${machine}`;
  }
}

async function ip(...args: readonly string[]): Promise<string> {
  return (await execute(IP, [...args])).stdout;
}

function gone(): void {}
