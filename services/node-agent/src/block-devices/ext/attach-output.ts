/** What a provider's attach script prints: the device on the first line, then how hypervisors reach it without one. */
import { HYPERVISORS, type HypervisorName } from "@gannet/objects";

export interface ExtAttachment {
  /** Empty when the volume is reached by its URIs alone. */
  readonly path: string;
  readonly uris: Readonly<Partial<Record<HypervisorName, string>>>;
}

/** Undefined when it is none: a path that is not absolute, a URI of no known hypervisor, nothing at all. */
export function parseAttachment(stdout: string): ExtAttachment | undefined {
  const [path = "", ...lines] = stdout.replace(/\n+$/, "").split("\n");
  const uris: Partial<Record<HypervisorName, string>> = {};
  for (const line of lines) {
    const hypervisor = HYPERVISORS.find((name) => line.startsWith(`${name}:`));
    if (hypervisor === undefined) return undefined;
    uris[hypervisor] = line.slice(hypervisor.length + 1);
  }
  if (path === "" && lines.length === 0) return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (path !== "" && (!path.startsWith("/") || /[\u0000-\u001f\u007f]/.test(path))) return undefined;
  return { path, uris };
}
