/** The files that stand for a guest on its node: its configuration, the links to its disks, the data of its NICs. */
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestDisk, GuestNic, GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { nicEnvironment } from "../../nics/nic-environment.ts";
import { fileStem } from "../file-stem.ts";
import type { XenOptions } from "./xen-options.ts";

export class GuestPlaces {
  readonly #configFolder: string;
  readonly #logFolder: string;
  readonly #savedFolder: string;
  readonly #options: Pick<XenOptions, "diskLinkFolder" | "nicFolder">;

  /** @param folder - of this driver alone, which only the agent's user may enter */
  constructor(folder: string, options: Pick<XenOptions, "diskLinkFolder" | "nicFolder">) {
    this.#configFolder = path.join(folder, "conf");
    this.#logFolder = path.join(folder, "log");
    this.#savedFolder = path.join(folder, "saved");
    this.#options = options;
  }

  async prepare(): Promise<void> {
    for (const folder of [this.#configFolder, this.#logFolder, this.#savedFolder])
      await mkdir(folder, { recursive: true, mode: 0o700 });
  }

  configFile(guestName: string): string {
    return path.join(this.#configFolder, fileStem(guestName));
  }

  /** What a migration of the guest printed. */
  logFile(guestName: string): string {
    return path.join(this.#logFolder, `${fileStem(guestName)}.log`);
  }

  /** Held by the process that carries a migration's data, with its process id. */
  lockFile(guestName: string): string {
    return path.join(this.#logFolder, `${fileStem(guestName)}.lock`);
  }

  /** Holds the whole memory of a guest that is saved. */
  savedFile(guestName: string): string {
    return path.join(this.#savedFolder, fileStem(guestName));
  }

  /** The same while it is being written. */
  savingFile(guestName: string): string {
    return `${this.savedFile(guestName)}.part`;
  }

  diskLink(guestName: string, disk: Pick<GuestDisk, "index">): string {
    return path.join(this.#options.diskLinkFolder, `${fileStem(guestName)}:${disk.index}`);
  }

  /** @throws HypervisorError when a disk's place is taken by something that is no link */
  async write(guest: GuestSpec, config: string): Promise<void> {
    await this.writeConfig(guest.name, config);
    await this.#linkDisks(guest);
    await this.#writeNics(guest);
  }

  /** Only root may read it: the VNC password may stand in it. */
  async writeConfig(guestName: string, config: string): Promise<void> {
    const file = this.configFile(guestName);
    await rm(file, { force: true });
    await writeFile(file, config, { mode: 0o600, flag: "wx" });
  }

  /** For its user alone to read: Xen's command would make it for everybody, but takes a file that is there as it is. */
  async makeSavingFile(guestName: string): Promise<void> {
    const file = this.savingFile(guestName);
    await rm(file, { force: true });
    await writeFile(file, "", { mode: 0o600, flag: "wx" });
  }

  /** The file is whole, and the only place where the guest's memory is. Idempotent. */
  async keepSaved(guestName: string): Promise<void> {
    const file = this.savingFile(guestName);
    if (!existsSync(file) && existsSync(this.savedFile(guestName))) return;
    const handle = await open(file);
    await handle.sync().finally(() => handle.close());
    await rename(file, this.savedFile(guestName));
  }

  async removeSaved(guestName: string): Promise<void> {
    for (const file of [this.savedFile(guestName), this.savingFile(guestName)]) await rm(file, { force: true });
  }

  /** All there is of the guest. What is not there is no error. */
  async remove(guestName: string): Promise<void> {
    await this.removeSaved(guestName);
    await this.removeMade(guestName);
  }

  /** What is made anew for its next start. */
  async removeMade(guestName: string): Promise<void> {
    for (const file of [this.configFile(guestName), this.logFile(guestName), this.lockFile(guestName)])
      await rm(file, { force: true });
    await this.#unlinkDisks(guestName);
    await rm(this.#nicFolder(guestName), { recursive: true, force: true });
  }

  async #linkDisks(guest: GuestSpec): Promise<void> {
    await mkdir(this.#options.diskLinkFolder, { recursive: true, mode: 0o755 });
    await this.#unlinkDisks(guest.name);
    for (const disk of guest.disks) {
      const link = this.diskLink(guest.name, disk);
      await symlink(disk.path, link).catch((error: Error) => {
        throw new HypervisorError(
          `Disk ${disk.index} of ${guest.name} cannot be linked to as ${link}: ${error.message}`,
        );
      });
    }
  }

  async #unlinkDisks(guestName: string): Promise<void> {
    const { diskLinkFolder } = this.#options;
    const prefix = `${fileStem(guestName)}:`;
    for (const name of await readdir(diskLinkFolder).catch(() => [])) {
      const link = path.join(diskLinkFolder, name);
      if (name.startsWith(prefix) && (await isLink(link))) await rm(link, { force: true });
    }
  }

  async #writeNics(guest: GuestSpec): Promise<void> {
    await rm(this.#nicFolder(guest.name), { recursive: true, force: true });
    if (guest.nics.length === 0) return;
    await mkdir(this.#nicFolder(guest.name), { recursive: true, mode: 0o755 });
    for (const nic of guest.nics)
      await writeFile(path.join(this.#nicFolder(guest.name), String(nic.index)), nicText(guest, nic), { mode: 0o644 });
  }

  #nicFolder(guestName: string): string {
    return path.join(this.#options.nicFolder, fileStem(guestName));
  }
}

/** Xen tells its script these by itself: the interface is named after the domain's number. */
const TOLD_BY_XEN: readonly string[] = ["PATH", "INTERFACE", "ACTION", "MIGRATION_PHASE"];

/** Lines that a shell script sources. */
export function nicText(guest: Pick<GuestSpec, "name" | "tags">, nic: GuestNic): string {
  return Object.entries(nicEnvironment(guest, nic, { interface: "", action: "up" }))
    .filter(([name]) => !TOLD_BY_XEN.includes(name))
    .map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'\n`)
    .join("");
}

function isLink(file: string): Promise<boolean> {
  return readlink(file).then(
    () => true,
    () => false,
  );
}
