/** The processes of a one-machine cluster and where they listen, as the operating system shows them. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** From iproute2. */
const SS = "/usr/bin/ss";
/** USER_HZ, which is 100 on every architecture that the pinned Node runs on (proc(5), `starttime`). */
const TICKS_PER_SECOND = 100;

export interface ClusterProcess {
  readonly pid: number;
  readonly command: string;
}

/** Every process that was given a path of the cluster's, as an argument or in its environment. */
export function processesOf(stateDir: string): readonly ClusterProcess[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const command = procFile(name, "cmdline").replaceAll("\0", " ").trim();
      const ours = command.includes(stateDir) || procFile(name, "environ").includes(stateDir);
      // A process without a command line has ended and waits for its parent to notice.
      return ours && command !== "" ? [{ pid: Number(name), command }] : [];
    });
}

/** When a process began, in seconds since the machine's start; undefined when there is none. */
export function startOf(pid: number): number | undefined {
  // The second field is the program's name, in parentheses, and may hold spaces.
  const [, rest] = procFile(String(pid), "stat").split(/\) (?!.*\) )/);
  const [state, ...fields] = rest?.split(" ") ?? [];
  return state === undefined || state === "Z" ? undefined : Number(fields[18]) / TICKS_PER_SECOND;
}

/** Seconds since the machine's start. */
export function uptime(): number {
  return Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
}

/** Addresses and ports of the TCP and UDP sockets on which these processes take connections: `127.0.0.1:5080`. */
export function listeningAddresses(pids: readonly number[]): readonly string[] {
  const wanted = new Set(pids);
  const lines = execFileSync(SS, ["-H", "-l", "-t", "-u", "-n", "-p"], { encoding: "utf8" }).split("\n");
  return lines
    .filter((line) => [...line.matchAll(/pid=(\d+)/g)].some(([, pid]) => wanted.has(Number(pid))))
    .map((line) => line.split(/\s+/)[4] ?? line);
}

function procFile(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
