/** The bridges of this node, to which guests' interfaces may be connected. */
import { readdir, stat } from "node:fs/promises";
import path from "node:path";

const INTERFACES = "/sys/class/net";

/** Names, sorted. A bridge is an interface with a folder `bridge` (Linux bridges; not Open vSwitch). */
export async function readBridges(interfaces: string = INTERFACES): Promise<readonly string[]> {
  const names = await readdir(interfaces);
  const bridges = await Promise.all(
    names.map((name) =>
      stat(path.join(interfaces, name, "bridge")).then(
        (found) => (found.isDirectory() ? [name] : []),
        () => [],
      ),
    ),
  );
  return bridges.flat().sort();
}
