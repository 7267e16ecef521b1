/** What `lxc-ls --active --fancy --fancy-format NAME,STATE` prints: a header, then a line a container. */
import { HypervisorError } from "@gannet/errors";

/** What lxc calls states in which something of the container is there (lxc(7)). */
const STATES: Readonly<Record<string, "running" | "paused">> = {
  STARTING: "running",
  RUNNING: "running",
  STOPPING: "running",
  ABORTING: "running",
  FREEZING: "paused",
  FROZEN: "paused",
  THAWED: "running",
};

/** One that ends between lxc's looks at what there is and at how it is; it is no longer there. */
const GONE = "STOPPED";

/** Without any container nothing at all is printed. @throws HypervisorError when it is no such list */
export function parseContainerList(text: string): ReadonlyMap<string, "running" | "paused"> {
  const [header, ...rows] = text.split("\n").filter((line) => line.trim() !== "");
  if (header === undefined) return new Map();
  if (!/^NAME\s+STATE\s*$/.test(header)) throw unreadable(header);
  return new Map(
    rows.flatMap((row): readonly [string, "running" | "paused"][] => {
      const [name, state = "", ...more] = row.trim().split(/\s+/);
      const status = Object.hasOwn(STATES, state) ? STATES[state] : undefined;
      if (name === undefined || more.length > 0) throw unreadable(row);
      if (status === undefined && state !== GONE) throw unreadable(row);
      return status === undefined ? [] : [[name, status]];
    }),
  );
}

function unreadable(line: string): HypervisorError {
  return new HypervisorError(`The list of lxc's containers cannot be read: ${JSON.stringify(line.slice(0, 200))}`);
}
