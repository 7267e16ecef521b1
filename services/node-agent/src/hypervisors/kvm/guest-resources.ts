/** What a guest holds on its node besides its qemu: taken before qemu starts, given back after its end. */
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { allEnded } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";
import { SYSTEM_NETWORK_TOOLS } from "../../nics/network-tools.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import type { ProcessIdentity } from "../process-identity.ts";
import { tapShape } from "./argv/network-cards.ts";
import { NonvolatileState } from "./firmware/nonvolatile-state.ts";
import { endSwtpm, startSwtpm } from "./firmware/swtpm.ts";
import { prepareLog, removeLog, removeRuntimeFiles, removeVncSocket } from "./guest-files.ts";
import { makeChroot, removeChroot } from "./isolation/chroot-folder.ts";
import { detectGuestScopes, type GuestScopes } from "./isolation/guest-scopes.ts";
import { UidPool } from "./isolation/uid-pool.ts";
import type { LaunchPlan } from "./launch-plan.ts";
import { NicConnections } from "./nic/connections.ts";
import { launchQemu } from "./qemu-process.ts";
import { type RuntimeFolders, runtimePaths } from "./runtime-paths.ts";

export class GuestResources {
  readonly nics: NicConnections;
  readonly uids: UidPool;
  readonly nonvolatile: NonvolatileState;
  readonly #runner: CommandRunner;
  readonly #logger: Logger;
  readonly #folders: RuntimeFolders;
  readonly #scopes: Promise<GuestScopes>;

  /** @param sharedFolder of all agents that this user runs on this machine */
  constructor({ stateDir, runner, logger, options }: HypervisorParts, folders: RuntimeFolders, sharedFolder: string) {
    this.#runner = runner;
    this.#logger = logger;
    this.#folders = folders;
    this.nics = new NicConnections({ runner, logger, tools: options.networkTools ?? SYSTEM_NETWORK_TOOLS });
    this.uids = new UidPool({ runner, folder: path.join(sharedFolder, "uid-pool") });
    this.nonvolatile = new NonvolatileState(folders.nonvolatile);
    this.#scopes = detectGuestScopes(stateDir);
  }

  /**
   * Take everything, and start qemu, stopped.
   * @returns its process, and the plan as it was carried out: with the user that was lent to the guest
   * @throws HypervisorError; what was taken until then is for {@link release} to give back
   */
  async launch(
    plan: LaunchPlan,
    signal: AbortSignal,
  ): Promise<{ readonly process: ProcessIdentity; readonly plan: LaunchPlan }> {
    const { guest, params, paths } = plan;
    const lent =
      params.security_model === "pool" ? await this.uids.borrow(guest.uidPool, this.#borrower(guest.name)) : undefined;
    const taken: LaunchPlan = lent === undefined ? plan : { ...plan, runAs: lent };
    if (taken.chroot !== null) await makeChroot(taken.chroot);
    const phase = plan.incoming ? "incoming" : "start";
    await this.nics.connectAll({ guest, folder: paths.nicFolder, tap: tapShape(taken), phase }, signal);
    await prepareLog(paths);
    const scopes = await this.#scopes;
    await this.#bringFirmware(taken, scopes, signal);
    const process = await launchQemu(this.#runner, taken, scopes, signal);
    await scopes.adopt(paths.stem, process.pid);
    return { process, plan: taken };
  }

  /** What a guest holds whose process is gone; what is gone already is no error. Its log and its record stay. */
  async release(guestName: string, guest: GuestSpec | undefined): Promise<void> {
    const paths = runtimePaths(this.#folders, guestName);
    // The kernel takes its time to remove an interface.
    await allEnded([
      this.nics.disconnectAll(paths.nicFolder, guest),
      removeRuntimeFiles(paths).then(() => endSwtpm(paths, guest?.hvparams.vtpm === true)),
    ]);
    if (guest !== undefined) await removeVncSocket(guest);
    const kept = await removeChroot(paths.chroot, this.#folders.quarantine);
    if (kept !== undefined) this.#logger.warn({ instance: guestName, kept }, "a guest's chroot was not empty");
    await this.uids.giveBack(this.#borrower(guestName));
    await (await this.#scopes).remove(paths.stem);
  }

  async removeLog(guestName: string): Promise<void> {
    await removeLog(runtimePaths(this.#folders, guestName));
  }

  /** What comes from another node is written over what the guest has here: then nothing but its size counts. */
  async #bringFirmware(plan: LaunchPlan, scopes: GuestScopes, signal: AbortSignal): Promise<void> {
    const { guest, firmware, tpm } = plan;
    if (plan.incoming) await this.nonvolatile.remove(guest.uuid);
    if (firmware !== null) await this.nonvolatile.makeVars(firmware);
    if (tpm === null) return;
    await this.nonvolatile.makeTpmFolder(tpm);
    const { pid } = await startSwtpm(this.#runner, plan, tpm, scopes, signal);
    await scopes.adopt(plan.paths.stem, pid);
  }

  /** What agents on one machine know each other's guests by. */
  #borrower(guestName: string): string {
    return path.join(this.#folders.conf, runtimePaths(this.#folders, guestName).stem);
  }
}
