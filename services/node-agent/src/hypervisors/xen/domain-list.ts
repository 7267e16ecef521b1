/** What `xl list -v` and `xm list` tell of all domains at once. */
import type { GuestStatus } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";

/** `suspended` stands still for its memory to be sent or saved, or because the command that did so was killed. */
export type DomainStatus = GuestStatus | "suspended";

export interface XenDomain {
  readonly name: string;
  /** Given anew at each boot of the domain. */
  readonly id: number;
  readonly memoryMib: number;
  readonly vcpus: number;
  readonly status: DomainStatus;
  readonly cpuSeconds: number;
  /** As the domain's configuration gave it; undefined with `xm`. */
  readonly uuid: string | undefined;
}

/** Domain 0: the node's own system. */
export const NODE_DOMAIN = "Domain-0";

/** Name, id, memory in MiB, processors, six flags, seconds of processor time; with `-v` a UUID, a reason, a label. */
const ROW =
  /^(?<name>.+?)\s+(?<id>\d+)\s+(?<memory>\d+)\s+(?<vcpus>\d+)\s+(?<flags>[a-zA-Z?-]{6})\s+(?<cpu>\d+(?:\.\d+)?)(?:\s+(?<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?(?:\s.*)?$/;
/** A domain that is being torn down has lost its name. */
const NAMELESS = "(null)";

/**
 * Every domain but those without a name, domain 0 among them.
 * @throws HypervisorError when the text is no such list
 */
export function parseDomainList(text: string): readonly XenDomain[] {
  const [header = "", ...rows] = text.split("\n").filter((line) => line.trim() !== "");
  if (!/^Name\s+ID\s+Mem/.test(header)) throw unreadable(header);
  const domains = rows.map(parseRow).filter(({ name }) => name !== NAMELESS);
  if (!domains.some(({ name }) => name === NODE_DOMAIN)) throw unreadable("it does not hold Domain-0");
  return domains;
}

function parseRow(line: string): XenDomain {
  const { name, id, memory, vcpus, flags, cpu, uuid } = ROW.exec(line)?.groups ?? {};
  if (name === undefined || flags === undefined) throw unreadable(line);
  return {
    name,
    id: Number(id),
    memoryMib: Number(memory),
    vcpus: Number(vcpus),
    status: statusOf(flags),
    cpuSeconds: Number(cpu),
    uuid,
  };
}

/**
 * The flags are running, blocked, paused, shut down, why it was shut down, dying; `-` where not (xl(1), `list`). A
 * domain that has shut down for a reboot goes on in a moment. One that has neither flag waits for a processor.
 */
function statusOf(flags: string): DomainStatus {
  const [, , paused, shutdown, reason = "-", dying] = flags;
  if (shutdown === "s" && reason === "-") return "shutdown";
  if (reason === "c" || reason === "w" || dying === "d") return "crashed";
  if (shutdown === "s" && reason === "s") return "suspended";
  return paused === "p" ? "paused" : "running";
}

function unreadable(what: string): HypervisorError {
  return new HypervisorError(`The list of Xen's domains cannot be read: ${JSON.stringify(what.slice(0, 200))}`);
}
