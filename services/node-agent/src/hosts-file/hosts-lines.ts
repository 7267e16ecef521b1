/** The cluster's lines in a hosts file (hosts(5)); pure. */

/** A host as the cluster knows it. */
export interface HostEntry {
  readonly address: string;
  /** With its domain. */
  readonly name: string;
}

export interface HostsText {
  readonly text: string;
  /** Names that lines of others give another address. */
  readonly contradicted: readonly string[];
}

/** Ends each line that is the cluster's. */
const MARK = "# gannet";

/**
 * The file's text with these hosts in it, and none that it was given before. Lines without the mark stay as they are, to
 * the byte, and where they stand; a host that one of them names already needs none.
 */
export function withHosts(text: string, hosts: readonly HostEntry[]): HostsText {
  const lines = text.split("\n");
  const others = lines.filter((line) => !line.trimEnd().endsWith(MARK));
  const named = namesIn(others);
  const missing = hosts.filter(({ name, address }) => !(named.get(name.toLowerCase()) ?? []).includes(address));
  const contradicted = missing.filter(({ name }) => named.has(name.toLowerCase())).map(({ name }) => name);
  const own = missing.map((host) => lineOf(host));
  // What ends without an end of line would swallow the first line after it.
  const before = others.join("\n").replace(/([^\n])$/, own.length > 0 ? "$1\n" : "$1");
  return { text: before + own.map((line) => `${line}\n`).join(""), contradicted };
}

function lineOf({ address, name }: HostEntry): string {
  const [short = name] = name.split(".");
  return `${address}\t${name}${short === name ? "" : ` ${short}`}\t${MARK}`;
}

/** Addresses of each name, in small letters. */
function namesIn(lines: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const line of lines) {
    const [address = "", ...names] = (line.split("#")[0] ?? "").trim().split(/\s+/);
    for (const name of names.map((each) => each.toLowerCase())) found.set(name, [...(found.get(name) ?? []), address]);
  }
  return found;
}
