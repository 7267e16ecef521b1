/** Commands that end with this process, however it ends, and whose mounts and processes end with them. */

/** Sends the command SIGKILL when this process is gone. */
const WITH_PARENT = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] as const;
const IN_NAMESPACES = [
  "/usr/bin/unshare",
  "--pid",
  "--fork",
  "--kill-child=SIGKILL",
  "--mount",
  "--mount-proc",
] as const;

/**
 * The argv of a command in a process and a mount namespace of its own.
 * @param network - `private`: in a network namespace of its own, too
 */
export function contained(
  argv: readonly string[],
  { network }: { readonly network: "private" | "host" },
): readonly [string, ...string[]] {
  return [...WITH_PARENT, ...IN_NAMESPACES, ...(network === "private" ? ["--net"] : []), "--", ...argv];
}
