/**
 * The network scripts of a site (spec/node-ops.json, `nic.scripts`): `<folder>/network/<mode>/<up|down>`, or an older
 * one that serves every mode, such as `<folder>/kvm-vif-bridge`. Either is called with the interface's name and takes
 * the place of what the agent would do.
 */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import path from "node:path";
import type { GuestNic, GuestSpec } from "@gannet/driver-contract";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { type NicEvent, nicEnvironment } from "./nic-environment.ts";

export const SYSTEM_SCRIPT_FOLDER = "/etc/ganeti";

const TIMEOUT_MS = 60_000;

/** Names of a hypervisor's own scripts from before there was one a mode. */
export type OlderScripts = Readonly<Partial<Record<NicEvent["action"], string>>>;

/** The site's script for this moment, where it has one. A NIC of mode `ext` has none of the older ones. */
export async function siteScript(
  folder: string,
  mode: GuestNic["mode"],
  action: NicEvent["action"],
  olderScripts: OlderScripts,
): Promise<string | undefined> {
  const older = mode === "ext" ? undefined : olderScripts[action];
  const candidates = [
    path.join(folder, "network", mode, action),
    ...(older === undefined ? [] : [path.join(folder, older)]),
  ];
  for (const candidate of candidates) if (await isExecutable(candidate)) return candidate;
  return undefined;
}

/** @throws HypervisorError with the end of what the script printed, when it fails */
export async function runSiteScript(
  runner: CommandRunner,
  script: string,
  about: { readonly guest: GuestSpec; readonly nic: GuestNic; readonly event: NicEvent },
  signal?: AbortSignal,
): Promise<void> {
  const { guest, nic, event } = about;
  try {
    await runner.run({
      argv: [script, event.interface],
      env: nicEnvironment(guest, nic, event),
      timeoutMs: TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new HypervisorError(`Instance ${guest.name}, NIC ${nic.index}: the site's script failed: ${error.message}`, {
      cause: error,
    });
  }
}

async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
