/** Options that set several parameters, or a part of one: `-n node1:node2`, `--disk 0:size=10g`, `--on-primary`. */
import { OpPrereqError } from "@gannet/errors";
import type { Gathered, OptionSpec, Params } from "./option-spec.ts";
import { readKeyValues } from "./read-value.ts";

type Settings = Readonly<Record<string, unknown>>;

/** A flag that sets parameters to what it stands for. */
function setting(flags: string, doc: string, values: Settings): OptionSpec {
  return { flags, doc, apply: ({ params }) => void Object.assign(params, values) };
}

function wrong(message: string): OpPrereqError {
  return new OpPrereqError(message, "wrong_input");
}

/** `0:size=10g,mode=ro` */
const NUMBERED = /^(\d{1,2})(?::(.*))?$/s;

/** Devices of a new instance: `--disk 0:size=10g --disk 1:size=1g`; indexes follow each other from 0. */
function newDevices(flags: string, doc: string, param: "disks" | "nics"): OptionSpec {
  return {
    flags,
    doc,
    apply: ({ params }, value) => {
      const [, digits = "", settings = ""] = NUMBERED.exec(value) ?? [];
      if (digits === "") throw wrong(`${flags} takes N:key=value,…, not ${JSON.stringify(value)}`);
      const devices = listOf(params, param);
      if (Number(digits) !== devices.length)
        throw wrong(`${flags}: the next index is ${devices.length}, not ${digits}; indexes follow each other from 0`);
      devices.push(deviceSettings(settings, flags));
    },
  };
}

const MODIFIED = /^(?:(-?\d{1,2}|[A-Za-z0-9][\w.-]*?):)?(add|remove|modify|attach|detach)(?:[:,](.*))?$/s;
const CHANGED = /^(-?\d{1,2}|[A-Za-z0-9][\w.-]*?):(.*)$/s;

/** Changes of devices: `add:size=1g`, `2:add,size=1g`, `remove`, `1:remove`, `0:mode=ro`. */
function deviceChanges(flags: string, doc: string, param: "disks" | "nics"): OptionSpec {
  return {
    flags,
    doc,
    apply: ({ params }, value) => {
      const [, place, operation, settings = ""] = MODIFIED.exec(value) ?? [];
      if (operation !== undefined)
        return void listOf(params, param).push([operation, position(place), deviceSettings(settings, flags)]);
      const [, device, changes = ""] = CHANGED.exec(value) ?? [];
      if (device === undefined)
        throw wrong(`${flags} takes add:key=value,…, N:remove or N:key=value,…, not ${JSON.stringify(value)}`);
      listOf(params, param).push(["modify", position(device), deviceSettings(changes, flags)]);
    },
  };
}

/** All of a device's settings are text or may be, but one. */
function deviceSettings(text: string, flags: string): Settings {
  const { spindles, ...settings } = readKeyValues(text, flags);
  return spindles === undefined ? settings : { ...settings, spindles: Number(spindles) };
}

/** Absent: the last, or behind the last. */
function position(place: string | undefined): number | string {
  if (place === undefined) return -1;
  return /^-?\d+$/.test(place) ? Number(place) : place;
}

function listOf(params: Params, param: string): unknown[] {
  const list = Array.isArray(params[param]) ? (params[param] as unknown[]) : [];
  params[param] = list;
  return list;
}

/** `-H kvm:key=value,…`, `-H kvm`, or `-H key=value,…` */
const HYPERVISOR: OptionSpec = {
  flags: "-H, --hypervisor-parameters <hypervisor:key=value,...>",
  doc: "The hypervisor, its parameters, or both.",
  apply: ({ params }, value) => {
    const [, hypervisor, settings] = /^([a-z][a-z-]*)(?::(.*))?$/s.exec(value) ?? [];
    if (hypervisor !== undefined) params.hypervisor = hypervisor;
    const given = hypervisor === undefined ? value : (settings ?? "");
    params.hvparams = { ...(params.hvparams as Settings | undefined), ...readKeyValues(given, "-H") };
  },
};

/** `node1` or `node1:node2` */
const NODES: OptionSpec = {
  flags: "-n, --node <primary[:secondary]>",
  doc: "The primary node, and the secondary one of mirrored disks.",
  apply: ({ params }, value) => {
    const [primary, secondary] = value.split(":");
    params.pnode = primary;
    if (secondary !== undefined) params.snode = secondary;
  },
};

const ONE_DISK: OptionSpec = {
  flags: "-s, --os-size <size>",
  doc: "A single disk of this size: MiB, or with a unit m, g or t.",
  apply: ({ params }, value) => {
    if (params.disks !== undefined) throw wrong("Give either -s or --disk");
    params.disks = [{ size: value }];
  },
};

const NEW_INSTANCE: readonly OptionSpec[] = [
  NODES,
  ONE_DISK,
  newDevices("--disk <N:size=SIZE,...>", "A disk: size, and mode, vg, metavg, adopt, name, provider, access.", "disks"),
  newDevices("--net <N:key=value,...>", "A network interface: mac, ip, mode, link, network, vlan, name.", "nics"),
  setting("--no-nics", "No network interface.", { nics: [] }),
  HYPERVISOR,
];

/** `1000-1010,2000` */
function uidRanges(flags: string, doc: string, param: string): OptionSpec {
  return {
    flags,
    doc,
    apply: ({ params }, value) => {
      params[param] = value
        .split(",")
        .filter((range) => range !== "")
        .map((range) => {
          const [, first = "", last = first] = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(range) ?? [];
          if (first === "") throw wrong(`${flags} takes ranges such as 1000-1010,2000, not ${JSON.stringify(range)}`);
          return [Number(first), Number(last)];
        });
    },
  };
}

/** `+name` and `-name`, or a bare name to add. */
function osList(flags: string, doc: string, param: string): OptionSpec {
  return {
    flags,
    doc,
    apply: ({ params }, value) => {
      const changes = value.split(",").map((os) => [os.startsWith("-") ? "remove" : "add", os.replace(/^[+-]/, "")]);
      params[param] = [...listOf(params, param), ...changes];
    },
  };
}

const RECREATED_DISK: OptionSpec = {
  flags: "--disk <N[:key=value,...]>",
  doc: "A disk to make again, perhaps with another size; without any: all of them.",
  apply: ({ params }, value) => {
    const [, digits = "", settings] = NUMBERED.exec(value) ?? [];
    if (digits === "") throw wrong(`--disk takes N or N:key=value,…, not ${JSON.stringify(value)}`);
    const entry = settings === undefined ? Number(digits) : [Number(digits), deviceSettings(settings, "--disk")];
    listOf(params, "disks").push(entry);
  },
};

const NON_LIVE = setting("--non-live", "Stop the guests while they move.", { mode: "non-live" });

/** A replacement on a new secondary needs no other word than the node or the allocator that finds it. */
function impliedMode({ params }: Gathered): void {
  if (params.mode !== undefined) return;
  if ((params.remote_node ?? params.iallocator) !== undefined) params.mode = "replace_new_secondary";
}

const OF_COMMAND: Readonly<Record<string, readonly OptionSpec[]>> = {
  "backup import": NEW_INSTANCE,
  "cluster modify": [
    uidRanges("--uid-pool <ranges>", "User ids that guests may run as.", "uid_pool"),
    uidRanges("--add-uids <ranges>", "Ranges to add to the user ids.", "add_uids"),
    uidRanges("--remove-uids <ranges>", "Ranges to take from the user ids.", "remove_uids"),
    osList("--hidden-os <+os,-os>", "OSes that are hidden, or no longer.", "hidden_os"),
    osList("--blacklisted-os <+os,-os>", "OSes that nobody may install, or may again.", "blacklisted_os"),
  ],
  "instance add": NEW_INSTANCE,
  "instance migrate": [NON_LIVE],
  "instance modify": [
    deviceChanges("--disk <change>", "add:size=SIZE, N:remove, N:detach or N:key=value,...", "disks"),
    deviceChanges("--net <change>", "add:key=value,..., N:remove or N:key=value,...", "nics"),
    setting("--offline", "Mark the stopped instance offline.", { offline: true }),
    setting("--online", "Mark the instance no longer offline.", { offline: false }),
  ],
  "instance recreate-disks": [
    RECREATED_DISK,
    {
      flags: "-n, --node <primary[:secondary]>",
      doc: "New nodes of the disks, the primary first.",
      apply: ({ params }, value) => {
        params.nodes = value.split(":");
      },
    },
  ],
  "instance replace-disks": [
    setting("-p, --on-primary", "Replace the disks on the primary node.", { mode: "replace_on_primary" }),
    setting("-s, --on-secondary", "Replace the disks on the secondary node.", { mode: "replace_on_secondary" }),
    setting("-a, --auto", "Replace what is broken, wherever it is.", { mode: "replace_auto" }),
  ],
  "node evacuate": [
    setting("-p, --primary-only", "Only the instances that run on the node.", { mode: "primary-only" }),
    setting("-s, --secondary-only", "Only the copies that the node has.", { mode: "secondary-only" }),
  ],
  "node migrate": [NON_LIVE],
  "node modify-storage": [
    {
      flags: "--allocatable <yes|no>",
      doc: "Whether new disks may be made there.",
      words: ["yes", "no"],
      apply: ({ params }, value) => {
        if (value !== "yes" && value !== "no") throw wrong("--allocatable takes yes or no");
        params.changes = { allocatable: value === "yes" };
      },
    },
  ],
};

/** The command's own options beside those of its single parameters. */
export function compositeOptions(command: string): readonly OptionSpec[] {
  return OF_COMMAND[command] ?? [];
}

/** Called when all options are read. */
const FINISH: Readonly<Record<string, (gathered: Gathered) => void>> = {
  "instance replace-disks": impliedMode,
  "instance add": ({ params }) => {
    if (params.disk_template === "diskless") params.disks ??= [];
  },
};

/** What options imply once all are known. */
export function finishParams(command: string, gathered: Gathered): void {
  FINISH[command]?.(gathered);
}
