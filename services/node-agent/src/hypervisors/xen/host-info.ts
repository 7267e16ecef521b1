/** What `xl info` tells of the machine below the hypervisor, of which domain 0 itself sees only its own share. */
import { HypervisorError } from "@gannet/errors";

export interface XenHostInfo {
  /** Such as `4.17.7`. */
  readonly version: string;
  readonly memoryTotalMib: number;
  readonly memoryFreeMib: number;
  readonly cpuTotal: number;
  readonly cpuSockets: number;
  readonly cpuNumaNodes: number;
  /** Whether the processor's virtualization is there for guests that need it (xen-hvm, PVH). */
  readonly hvm: boolean;
}

/** @throws HypervisorError when a field is missing or is no number */
export function parseHostInfo(text: string): XenHostInfo {
  const fields = new Map(
    text.split("\n").flatMap((line): [string, string][] => {
      const [, key, value] = /^(\w+)\s*:\s?(.*)$/.exec(line) ?? [];
      return key === undefined || value === undefined ? [] : [[key, value.trim()]];
    }),
  );
  const number = (...names: readonly string[]): number => {
    const value = names.map((name) => fields.get(name)).find((found) => found !== undefined);
    if (value === undefined || !/^\d+$/.test(value)) throw unreadable(names[0] ?? "");
    return Number(value);
  };
  const cpuTotal = number("nr_cpus");
  const perSocket = number("cores_per_socket") * number("threads_per_core");
  return {
    version: `${number("xen_major")}.${number("xen_minor")}${fields.get("xen_extra") ?? ""}`,
    memoryTotalMib: number("total_memory", "memory"),
    memoryFreeMib: number("free_memory"),
    cpuTotal,
    cpuSockets: perSocket === 0 ? 1 : Math.max(1, Math.floor(cpuTotal / perSocket)),
    cpuNumaNodes: number("nr_nodes"),
    hvm: (fields.get("xen_caps") ?? "").includes("hvm-"),
  };
}

function unreadable(name: string): HypervisorError {
  return new HypervisorError(`What Xen tells of this node cannot be read: it has no ${name}`);
}
