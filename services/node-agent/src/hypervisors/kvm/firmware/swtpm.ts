/**
 * The TPM of a guest: a process swtpm(8) beside its qemu, which talks to it over a socket. It ends by itself when
 * qemu does, whatever ended that (`--terminate`), and not with the agent.
 *
 * It runs as the agent's user behind its own seccomp filter, also where qemu becomes another user: a user lent from a
 * pool is another one at each start, and could not enter the folder where the TPM is kept. A TPM has no endorsement
 * certificate: it would name an authority that nobody knows.
 */
import { constants } from "node:fs";
import { access, rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { findProcesses, type ProcessIdentity } from "../../process-identity.ts";
import type { GuestScopes } from "../isolation/guest-scopes.ts";
import type { LaunchPlan } from "../launch-plan.ts";
import { endProcess, findDaemon } from "../qemu-process.ts";
import type { RuntimePaths } from "../runtime-paths.ts";

const SWTPM = "/usr/bin/swtpm";
const START_TIMEOUT_MS = 30_000;
/** It has gone to the background before it writes its pid file. */
const PID_FILE_WAITS_MS = [0, 10, 40, 150, 500, 2_000];
/** It has been told to go by qemu's end, and has nothing to write: a TPM is written at each change. */
const END_GRACE_MS = 2_000;

/** @throws HypervisorError when there is no swtpm on this node */
export async function checkSwtpm(): Promise<void> {
  await access(SWTPM, constants.X_OK).catch((error) => {
    throw new HypervisorError(`vtpm: there is no ${SWTPM} on this node; install it (Debian's package swtpm)`, {
      cause: error,
    });
  });
}

/** Pure. @param stateFolder - where the TPM is kept: made new by swtpm when it is empty */
export function swtpmArgv(
  { tpmSocket, tpmPidFile }: Pick<RuntimePaths, "tpmSocket" | "tpmPidFile">,
  stateFolder: string,
): readonly [program: string, ...args: string[]] {
  return [
    SWTPM,
    ...["socket", "--tpm2"],
    ...["--tpmstate", `dir=${stateFolder},mode=0600`],
    ...["--ctrl", `type=unixio,path=${tpmSocket},mode=0600`],
    ...["--pid", pidArgument(tpmPidFile)],
    ...["--terminate", "--daemon"],
  ];
}

/** @throws HypervisorError with what it said, when it does not come up */
export async function startSwtpm(
  runner: CommandRunner,
  { guest, paths }: Pick<LaunchPlan, "guest" | "paths">,
  stateFolder: string,
  scopes: Pick<GuestScopes, "wrap">,
  signal: AbortSignal,
): Promise<ProcessIdentity> {
  // A comma would begin another option, and swtpm knows no way to write one.
  const strange = [stateFolder, paths.tpmSocket].find((file) => file.includes(","));
  if (strange !== undefined) throw new HypervisorError(`vtpm: swtpm takes no path with a comma, such as ${strange}`);
  try {
    // A scope has one command that begins it; `_` is in no guest's name.
    const argv = scopes.wrap(`${paths.stem}_tpm`, swtpmArgv(paths, stateFolder));
    await runner.run({ argv, timeoutMs: START_TIMEOUT_MS, signal });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new HypervisorError(`Instance ${guest.name}: its TPM did not start: ${error.message}`, { cause: error });
  }
  for (const waitMs of PID_FILE_WAITS_MS) {
    await delay(waitMs);
    const process = await findSwtpm(paths);
    if (process !== undefined) return process;
  }
  throw new HypervisorError(`Instance ${guest.name}: its TPM ended at once`);
}

/**
 * Of a guest whose qemu is gone. Succeeds when it has ended, or there was none.
 * @param hadTpm - whether the guest had one; without that only a process with a pid file is found
 */
export async function endSwtpm(paths: RuntimePaths, hadTpm: boolean): Promise<void> {
  const process = (await findSwtpm(paths)) ?? (hadTpm ? await findEndingSwtpm(paths) : undefined);
  if (process !== undefined) await endProcess(process, END_GRACE_MS);
  for (const file of [paths.tpmPidFile, paths.tpmSocket]) await rm(file, { force: true });
}

/** It removes its pid file before it ends, and locks its folder until then: the next one there would not start. */
async function findEndingSwtpm({ tpmPidFile }: RuntimePaths): Promise<ProcessIdentity | undefined> {
  const [process] = await findProcesses((args) => args.includes(pidArgument(tpmPidFile)));
  return process;
}

function findSwtpm({ tpmPidFile }: RuntimePaths): Promise<ProcessIdentity | undefined> {
  return findDaemon(tpmPidFile, pidArgument(tpmPidFile));
}

function pidArgument(pidFile: string): string {
  return `file=${pidFile}`;
}
