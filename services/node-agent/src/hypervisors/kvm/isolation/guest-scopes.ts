/**
 * A control group of its own for each guest: it is counted and limited by itself, and is no part of the agent's
 * service, which can be stopped without it. systemd makes a scope where it runs; elsewhere the agent makes a group in
 * the unified hierarchy (cgroups(7), version 2) where it may; else a guest has none.
 */
import { constants } from "node:fs";
import { access, mkdir, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HypervisorError } from "@gannet/errors";
import { shortHash } from "../../file-stem.ts";

type Argv = readonly [program: string, ...args: string[]];

const SYSTEMD_RUN = "/usr/bin/systemd-run";
/** Exists where systemd is the machine's first process (sd_booted(3)). */
const SYSTEMD_MARK = "/run/systemd/system";
const SYSTEM_CGROUP_ROOT = "/sys/fs/cgroup";
const SLICE = "gannet-guests.slice";

export interface GuestScopes {
  /** The command that brings up a guest's qemu, so that it begins inside its scope where that is possible. */
  wrap(guestStem: string, argv: Argv): Argv;
  /** Take a qemu into its scope that did not begin there. @throws HypervisorError */
  adopt(guestStem: string, pid: number): Promise<void>;
  /** After the guest's end. Succeeds when there is none. */
  remove(guestStem: string): Promise<void>;
}

/** A process that has just ended keeps its group for a moment. One that stays is empty, and the next guest's. */
const REMOVAL_WAITS_MS = [0, 10, 40, 150, 300];

/** @param stateDir tells guests of this agent from those of others on the same machine */
export async function detectGuestScopes(
  stateDir: string,
  places: { readonly systemdMark: string; readonly cgroupRoot: string } = {
    systemdMark: SYSTEMD_MARK,
    cgroupRoot: SYSTEM_CGROUP_ROOT,
  },
): Promise<GuestScopes> {
  const owner = shortHash(stateDir);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot && (await usable(places.systemdMark, constants.F_OK)) && (await usable(SYSTEMD_RUN, constants.X_OK))) {
    return systemdScopes(owner);
  }
  const controllers = path.join(places.cgroupRoot, "cgroup.controllers");
  const unified = (await usable(controllers, constants.F_OK)) && (await usable(places.cgroupRoot, constants.W_OK));
  return unified ? cgroupScopes(path.join(places.cgroupRoot, "gannet-guests", owner)) : NO_SCOPES;
}

const NO_SCOPES: GuestScopes = { wrap: (_, argv) => argv, adopt: async () => {}, remove: async () => {} };

/** The scope goes by itself when its last process has ended. */
function systemdScopes(owner: string): GuestScopes {
  return {
    wrap: (stem, argv) => [
      SYSTEMD_RUN,
      ...["--scope", "--quiet", "--collect", `--slice=${SLICE}`, `--unit=${scopeName(owner, stem)}`, "--"],
      ...argv,
    ],
    adopt: async () => {},
    remove: async () => {},
  };
}

/** A stem that stands for a long name begins with `~`, which no unit's name may have (systemd.unit(5)). */
export function scopeName(owner: string, stem: string): string {
  return `gannet-guest-${owner}-${stem.replace("~", "_")}.scope`;
}

function cgroupScopes(folder: string): GuestScopes {
  const groupOf = (stem: string) => path.join(folder, stem);
  return {
    wrap: (_, argv) => argv,
    adopt: async (stem, pid) => {
      try {
        await mkdir(groupOf(stem), { recursive: true });
        await writeFile(path.join(groupOf(stem), "cgroup.procs"), String(pid));
      } catch (error) {
        throw new HypervisorError(`Process ${pid} cannot be put into the control group ${groupOf(stem)}`, {
          cause: error,
        });
      }
    },
    remove: async (stem) => {
      for (const waitMs of REMOVAL_WAITS_MS) {
        await delay(waitMs);
        const fault = await rmdir(groupOf(stem)).catch((error: NodeJS.ErrnoException) => error.code);
        if (fault !== "EBUSY") return;
      }
    },
  };
}

async function usable(file: string, mode: number): Promise<boolean> {
  return access(file, mode).then(
    () => true,
    () => false,
  );
}
