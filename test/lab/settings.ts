/** What `make lab` reads from its environment. */
import { createHash } from "node:crypto";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { REPOSITORY } from "./plan.ts";

const SCOPES = ["drivers", "kvm", "xen", "figures", "systemd", "ci", "all"] as const;

export interface LabSettings {
  /**
   * `drivers`: what is proven on nodes with KVM and on nodes with Xen, `kvm` or `xen` one of the two; `figures`: what is
   * measured; `systemd`: an installation from packages; `ci`: the shortest form, for a machine with little time.
   */
  readonly scope: (typeof SCOPES)[number];
  /** Scenarios whose name holds this; all when empty. */
  readonly only: string;
  /** Where images of nodes are kept from run to run. */
  readonly cacheDir: string;
  /** Where a run keeps its files. Its path is short, because sockets are below it, and the same for each run. */
  readonly workDir: string;
  /** Logs of the daemons and consoles of the last run that failed. */
  readonly logDir: string;
}

/** @throws OpPrereqError (wrong_input) */
export function labSettings(env: NodeJS.ProcessEnv): LabSettings {
  const scope = env.LAB || "drivers";
  if (!(SCOPES as readonly string[]).includes(scope))
    throw new OpPrereqError(`LAB is "${scope}"; it must be one of ${SCOPES.join(", ")}`, "wrong_input");
  const state = path.join(REPOSITORY, ".state/lab");
  const checkout = createHash("sha256").update(REPOSITORY).digest("hex").slice(0, 8);
  return {
    scope: scope as LabSettings["scope"],
    only: env.GANNET_LAB_ONLY ?? "",
    cacheDir: path.resolve(
      env.GANNET_LAB_CACHE || (env.XDG_CACHE_HOME ? path.join(env.XDG_CACHE_HOME, "gannet-lab") : `${state}/images`),
    ),
    workDir: `/var/tmp/gannet-lab-${checkout}`,
    logDir: path.join(state, "logs"),
  };
}
