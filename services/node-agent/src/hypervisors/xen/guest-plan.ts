/** Everything that a start needs to know, checked before anything is done. */
import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { HYPERVISOR_PARAMETERS } from "@gannet/objects";
import { checkGuestName, checkUuid } from "../guest-name.ts";
import { configFile, ownPrograms } from "./config-file.ts";
import type { GuestPlaces } from "./guest-places.ts";
import type { Toolstack, ToolstackKind } from "./toolstack.ts";
import { toolstackFor } from "./toolstack-choice.ts";
import type { VifScripts } from "./vifs.ts";
import type { XenOptions } from "./xen-options.ts";
import { type HvmParameters, readXenParameters, type XenHypervisorName, type XenParameters } from "./xen-parameters.ts";

export interface GuestPlan {
  readonly guest: GuestSpec;
  readonly params: XenParameters;
  readonly toolstack: Toolstack;
  /** The text of its configuration file. */
  readonly config: string;
}

/** @throws HypervisorError when it is no name of an instance, or one that Xen would take for a domain's number */
export function checkXenName(name: string): void {
  checkGuestName(name);
  if (/^\d+$/.test(name))
    throw new HypervisorError(
      `${name} cannot be the name of an instance under Xen: it means the domain of that number`,
    );
}

export class GuestPlanner {
  readonly #hypervisor: XenHypervisorName;
  readonly #options: XenOptions;
  readonly #places: GuestPlaces;

  constructor(options: {
    readonly hypervisor: XenHypervisorName;
    readonly options: XenOptions;
    readonly places: GuestPlaces;
  }) {
    this.#hypervisor = options.hypervisor;
    this.#options = options.options;
    this.#places = options.places;
  }

  /** @throws HypervisorError naming what keeps this node from running the guest */
  async plan(guest: GuestSpec): Promise<GuestPlan> {
    checkXenName(guest.name);
    checkUuid(guest.uuid, `Instance ${guest.name}`);
    const params = readXenParameters(this.#hypervisor, guest);
    const toolstack = toolstackFor(params.xen_cmd, this.#options);
    await this.#checkFiles(guest, params, toolstack.kind);
    const config = configFile({
      guest,
      params,
      kind: toolstack.kind,
      pathOf: (disk) => this.#places.diskLink(guest.name, disk),
      vncPassword: await vncPassword(params),
      vifScripts: await this.#vifScripts(),
    });
    return { guest, params, toolstack, config };
  }

  async #vifScripts(): Promise<VifScripts> {
    const [own, site] = await Promise.all(
      [this.#options.vifScript, this.#options.siteVifScript].map(async (file) =>
        (await mayRun(file)) ? file : undefined,
      ),
    );
    return { own, site };
  }

  async #checkFiles(guest: GuestSpec, params: XenParameters, kind: ToolstackKind): Promise<void> {
    const unused = unusedFiles(params, kind);
    for (const [name, definition] of Object.entries(HYPERVISOR_PARAMETERS[this.#hypervisor])) {
      const file = guest.hvparams[name];
      if (definition.onNode !== "file" || typeof file !== "string" || file === "" || unused.has(name)) continue;
      if (!(await isThere(file)))
        throw new HypervisorError(`Instance ${guest.name}: ${name} is ${file}, which this node does not have`);
    }
  }
}

/** Parameters whose file this guest has no use for. */
function unusedFiles(params: XenParameters, kind: ToolstackKind): ReadonlySet<string> {
  if (params.hypervisor === "xen-pvm")
    return new Set(params.use_bootloader ? ["kernel_path", "initrd_path"] : ["bootloader_path"]);
  const programs: readonly string[] = kind === "xm" ? ["kernel_path", "device_model"] : ownPrograms(params);
  const used = [...programs, ...(hasVnc(params) ? ["vnc_password_file"] : [])];
  return new Set(["kernel_path", "device_model", "vnc_password_file"].filter((name) => !used.includes(name)));
}

/** Empty without VNC. @throws HypervisorError when VNC would have no password */
async function vncPassword(params: XenParameters): Promise<string> {
  if (!hasVnc(params)) return "";
  const text = await readFile(params.vnc_password_file, "utf8").catch((error: Error) => {
    throw new HypervisorError(`vnc_password_file: ${params.vnc_password_file} cannot be read: ${error.message}`);
  });
  const [password = ""] = text.split(/\r?\n/, 1);
  if (password === "")
    throw new HypervisorError(`vnc_password_file: ${params.vnc_password_file} begins with no password`);
  return password;
}

function hasVnc(params: XenParameters): params is HvmParameters {
  return params.hypervisor === "xen-hvm" && params.vnc_bind_address !== "";
}

function mayRun(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
