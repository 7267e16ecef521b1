/** Command lines by which the cluster's address is moved, and what `ip` tells of addresses (spec/node-ops.json, master_ip). */
import { isIpv4 } from "@gannet/objects";
import { z } from "zod";

/** The cluster's own address on the interface that carries it. */
export interface MasterAddress {
  readonly address: string;
  /** Length of the prefix. */
  readonly netmask: number;
  readonly netdev: string;
}

export interface AddressTools {
  readonly ip: string;
  /** Of iputils. */
  readonly arping: string;
  readonly ndisc6: string;
}

type Argv = readonly [string, ...string[]];

/** Longest name of an interface, and of a label (linux/if.h, IFNAMSIZ). */
const LONGEST_LABEL = 15;
/** As Ganeti announces. */
const ANNOUNCEMENTS = "3";

/**
 * Nothing chooses it as the source of its own connections (`preferred_lft 0`): these must not end when it moves. By
 * this, and by its label, it is told from addresses that the interface has anyway.
 */
export function addArgv({ ip }: AddressTools, where: MasterAddress): Argv {
  const { address, netmask, netdev } = where;
  const label = labelOf(where);
  return [
    ip,
    ...["address", "add", `${address}/${netmask}`, "dev", netdev],
    ...(label === undefined ? [] : ["label", label]),
    ...["preferred_lft", "0"],
  ];
}

export function removeArgv({ ip }: AddressTools, { address, netmask, netdev }: MasterAddress): Argv {
  return [ip, "address", "del", `${address}/${netmask}`, "dev", netdev];
}

export function showArgv({ ip }: AddressTools): Argv {
  return [ip, "-json", "address", "show"];
}

/** Tell the neighbours at which machine the address is now. */
export function announceArgv({ arping, ndisc6 }: AddressTools, { address, netdev }: MasterAddress): Argv {
  return isIpv4(address)
    ? [arping, "-q", "-U", "-c", ANNOUNCEMENTS, "-I", netdev, "-s", address, address]
    : [ndisc6, "-q", "-r", ANNOUNCEMENTS, address, netdev];
}

/** Only IPv4 addresses have one. */
function labelOf({ address, netdev }: MasterAddress): string | undefined {
  const label = `${netdev}:0`;
  return isIpv4(address) && label.length <= LONGEST_LABEL ? label : undefined;
}

/** An address of this node. */
export interface PresentAddress extends MasterAddress {
  /** Whether it bears a mark of {@link addArgv}. */
  readonly isMarked: boolean;
}

const shown = z.array(
  z.object({
    ifname: z.string().optional(),
    addr_info: z
      .array(
        z.object({
          local: z.string().optional(),
          prefixlen: z.int().optional(),
          label: z.string().optional(),
          deprecated: z.boolean().optional(),
        }),
      )
      .default([]),
  }),
);

/** @throws ZodError or SyntaxError when it is not what `ip -json address show` prints */
export function parseAddresses(text: string): readonly PresentAddress[] {
  // Without any interface it prints nothing at all.
  return shown.parse(JSON.parse(text.trim() || "[]")).flatMap(({ ifname: netdev = "", addr_info }) =>
    addr_info.map(({ local: address = "", prefixlen: netmask = 0, label, deprecated = false }) => ({
      ...{ address, netmask, netdev },
      isMarked: deprecated || label === `${netdev}:0`,
    })),
  );
}
