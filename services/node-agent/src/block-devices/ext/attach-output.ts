/** What a provider's attach script prints: the device on the first line, then how hypervisors reach it without one. */
import { HYPERVISORS, type HypervisorName } from "@gannet/objects";

export interface ExtAttachment {
  /** Empty when the volume is reached by its URIs alone. */
  readonly path: string;
  readonly uris: Readonly<Partial<Record<HypervisorName, string>>>;
}

/**
 * Undefined when it is none: a path that is not absolute, neither path nor URI. As in Ganeti a hypervisor's name may be
 * written in capitals, the first line of a hypervisor counts, and lines of others are passed over.
 */
export function parseAttachment(stdout: string): ExtAttachment | undefined {
  const [path = "", ...lines] = stdout.split("\n");
  const uris: Partial<Record<HypervisorName, string>> = {};
  for (const line of lines) {
    const [prefix = ""] = line.split(":", 1);
    const hypervisor = HYPERVISORS.find((name) => name === prefix.toLowerCase());
    if (hypervisor !== undefined) uris[hypervisor] ??= line.slice(prefix.length + 1);
  }
  if (path === "" && Object.keys(uris).length === 0) return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (path !== "" && (!path.startsWith("/") || /[\u0000-\u001f\u007f]/.test(path))) return undefined;
  return { path, uris };
}
