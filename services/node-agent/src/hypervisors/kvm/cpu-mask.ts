/** On which of the node's processors a guest's may run (`cpu_mask`). */
import { readFile } from "node:fs/promises";
import { HypervisorError } from "@gannet/errors";

/** A list of processors as taskset(1) takes it, such as `0,2-4`; undefined for all. */
export type CpuList = string | undefined;

export type CpuPinning =
  | { readonly kind: "none" }
  /** qemu as a whole, with its threads for input and output. */
  | { readonly kind: "guest"; readonly cpus: string }
  /** One entry a virtual processor. */
  | { readonly kind: "vcpus"; readonly cpus: readonly CpuList[] };

/**
 * `all`, one list for the whole guest, or a list for each virtual processor: `0:2-3:all`.
 * @throws HypervisorError when there are not as many lists as virtual processors
 */
export function parseCpuMask(mask: string, vcpus: number): CpuPinning {
  const lists = mask.split(":").map((part) => (part === "all" ? undefined : part));
  const [first] = lists;
  if (lists.length === 1) return first === undefined ? { kind: "none" } : { kind: "guest", cpus: first };
  if (lists.length !== vcpus) {
    throw new HypervisorError(
      `cpu_mask: ${mask} is for ${lists.length} virtual processors, but the instance has ${vcpus}`,
    );
  }
  return { kind: "vcpus", cpus: lists };
}

/** @throws HypervisorError naming the processors that this node has not, or has switched off */
export async function checkCpuPinning(pinning: CpuPinning): Promise<void> {
  const online = new Set(expandCpuList((await readFile("/sys/devices/system/cpu/online", "utf8")).trim()));
  const asked = pinning.kind === "none" ? [] : pinning.kind === "guest" ? [pinning.cpus] : pinning.cpus;
  const missing = asked
    .flatMap((list) => (list === undefined ? [] : expandCpuList(list)))
    .filter((n) => !online.has(n));
  if (missing.length === 0) return;
  throw new HypervisorError(`cpu_mask: this node has no processor ${[...new Set(missing)].join(", ")}`);
}

/** `0,2-4` as numbers. */
export function expandCpuList(list: string): readonly number[] {
  return list.split(",").flatMap((part) => {
    const [low = 0, high = low] = part.split("-").map(Number);
    return Array.from({ length: high - low + 1 }, (_, offset) => low + offset);
  });
}
