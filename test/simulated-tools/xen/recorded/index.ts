/** What xl 4.17 answered on a real Xen, in the order it was asked (session.txt), about the domains below. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { type Answer, parseSession, type SessionStep } from "../../recorded-session.ts";

/** Where the session has its files. */
export const RECORDED_FOLDER = "/run/recorded";

const LINUX = "linux1.example";

const SHARED = ["vcpus = 1", 'on_poweroff = "preserve"', 'on_reboot = "restart"', 'on_crash = "restart"'];

/** Configurations of domains by their files: one that waits for ever, a Linux, one without end, and none at all. */
export const RECORDED_FILES: Readonly<Record<string, string>> = {
  "idle.cfg": configuration("web1.example", 1, 'kernel = "/lab/node/xen-idle"', "memory = 32", "maxmem = 32"),
  "linux.cfg": configuration(
    LINUX,
    2,
    ...['kernel = "/lab/node/guest-kernel"', 'ramdisk = "/lab/node/guest-initramfs"'],
    ...['extra = "console=hvc0 quiet mitigations=off"', "memory = 160", "maxmem = 160"],
  ),
  "large.cfg": configuration("large.example", 3, 'kernel = "/lab/node/xen-idle"', "memory = 1000000"),
  "broken.cfg": 'name = "broken.example\n',
};

function configuration(name: string, number: number, ...lines: readonly string[]): string {
  const uuid = `00000000-0000-4000-8000-00000000000${number}`;
  return [`name = "${name}"`, `uuid = "${uuid}"`, ...lines, ...SHARED, ""].join("\n");
}

const CONSOLE = `/lab/node/guest-${LINUX}.log`;
/** Exit code of a session whose Linux does not come, after what there is to see of it. */
export const HAS_NOT_COME = 98;
/** The session's only event: the Linux has come so far that it can take part in being saved. */
export const HAS_COME = {
  event: `${LINUX} has come`,
  script: [
    `until xenstore-read /local/domain/$(xl domid ${LINUX} 2>/dev/null)/control/feature-suspend 2>/dev/null | grep -q 1; do`,
    `  [ $((looks += 1)) -lt 200 ] || { xl list -v; xl dmesg | tail -n 20; tail -n 20 ${CONSOLE}; exit ${HAS_NOT_COME}; }`,
    "  sleep 0.2",
    "done",
    "looks=0",
  ].join("\n"),
};

export function recordedSession(): readonly SessionStep[] {
  return parseSession(readFileSync(path.join(import.meta.dirname, "session.txt"), "utf8"));
}

/** Of `xl info`, what the driver reads, and Ganeti. */
const TOLD_OF_NODE =
  /^(host|nr_cpus|nr_nodes|cores_per_socket|threads_per_core|total_memory|free_memory|xen_major|xen_minor|xen_extra|xen_caps) *:/;

/** Without what another machine, or another moment, makes different. */
export function comparableSession(steps: readonly SessionStep[]): readonly SessionStep[] {
  const numbered = numberedFrom(firstDomain(steps));
  return steps.map((step) =>
    "event" in step ? step : { ...step, answer: comparable(step.command, step.answer, numbered) },
  );
}

/** Domains are numbered from the node's boot, and a node has had others before. */
function firstDomain(steps: readonly SessionStep[]): number {
  const lists = steps.flatMap((step) => ("event" in step ? [] : [step.answer.stdout]));
  const [, id] = lists.map((text) => /^[^\s]+\.example +(\d+) /m.exec(text)).find((match) => match !== null) ?? [];
  return Number(id);
}

/** A domain's number counts from 1 where it stands in a row of `xl list`, or in words. */
function numberedFrom(first: number): (line: string) => string {
  const counted = (id: string) => String(Number(id) - first + 1);
  return (line) =>
    line
      .replace(/^(\S+\.example) +(\d+)/, (_all, name, id) => `${name} ${counted(id)}`)
      .replace(/\b([Dd]omain|domid) (\d+)\b/g, (_all, word, id) => `${word} ${counted(id)}`);
}

function comparable(
  [, verb]: readonly string[],
  { stdout, stderr, exitCode }: Answer,
  numbered: (line: string) => string,
): Answer {
  const told =
    verb === "info"
      ? linesOf(stdout)
          .filter((line) => TOLD_OF_NODE.test(line))
          .map((line) => line.replace(/:.*/, ""))
      : linesOf(stdout).map((row) => numbered(withoutUse(row)));
  return {
    stdout: told.join("\n"),
    stderr: linesOf(stderr)
      .filter((line) => !line.startsWith("xc: "))
      .map((line) => numbered(line.replace(/\.c:\d+:/, ".c:")))
      .join("\n"),
    exitCode,
  };
}

/** A row of `xl list`: which domain has the processor just now, the time that it has used, and all of domain 0. */
function withoutUse(row: string): string {
  return row
    .replace(/^Domain-0 .*/, "Domain-0")
    .replace(/ (r-----|-b----|------) /, " running ")
    .replace(/(?<= (running|[-a-z]{6}) ) *\d+\.\d/, "TIME");
}

function linesOf(text: string): readonly string[] {
  return text.split("\n");
}
