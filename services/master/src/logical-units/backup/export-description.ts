/**
 * The description of an export, as Ganeti writes and reads it (spec/os-iallocator-hooks.json, `export_import`): an ini
 * file of plain sections. Pure.
 */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  filledBeparams,
  filledHvparams,
  filledOsparams,
  type Instance,
  nicparamsOf,
  type ParameterValue,
  withoutGlobals,
} from "@gannet/objects";

/** Of the format; Ganeti has no other. */
const VERSION = 0;
/** What keeps a value from being one line. */
const LINE_BREAK = /[\r\n]/;

export interface ExportedDisk {
  /** Its file in the export's folder. */
  readonly dump: string;
  readonly sizeMib: number;
  readonly ivName: string;
  readonly name: string | null;
}

export interface DescribedExport {
  readonly instance: Instance;
  /** Name of the node it was on. */
  readonly source: string;
  readonly compression: string;
  /** Seconds since 1970. */
  readonly now: number;
  readonly disks: readonly ExportedDisk[];
}

/** @param view - the instance's, for what it inherits: an import elsewhere must not depend on this cluster's defaults */
export function describeExport(view: ConfigView, exported: DescribedExport): string {
  const { instance, source, compression, now, disks } = exported;
  const beparams = filledBeparams(view.cluster, instance);
  const nics = instance.nics.flatMap((nic, index) => {
    const { mode, link, vlan } = nicparamsOf(view, instance, nic);
    const network = nic.network === null ? undefined : view.networks.get(nic.network)?.name;
    return prefixed(`nic${index}_`, { mac: nic.mac, ip: nic.ip, network, name: nic.name, mode, link, vlan });
  });
  const diskLines = disks.flatMap(({ dump, sizeMib, ivName, name }, index) =>
    prefixed(`disk${index}_`, { ivname: ivName, dump, size: sizeMib, name }),
  );
  return sections([
    ["export", entries({ version: VERSION, timestamp: Math.floor(now), source, os: instance.os, compression })],
    [
      "instance",
      [
        ...entries({
          name: instance.name,
          maxmem: beparams.maxmem,
          minmem: beparams.minmem,
          memory: beparams.maxmem,
          vcpus: beparams.vcpus,
          disk_template: instance.diskTemplate,
          hypervisor: instance.hypervisor,
          tags: instance.tags.join(" "),
        }),
        ...nics,
        ...entries({ nic_count: instance.nics.length }),
        ...diskLines,
        ...entries({ disk_count: disks.length }),
      ],
    ],
    ["hypervisor", entries(withoutGlobals(filledHvparams(view.cluster, instance)))],
    ["backend", entries(beparams)],
    ["os", entries(filledOsparams(view.cluster, instance))],
    // Private parameters stay in the cluster: the folder of an export is readable to more than it is.
    ["os_private", []],
  ]);
}

type Line = readonly [name: string, value: string];

function entries(values: Readonly<Record<string, ParameterValue | undefined>>): readonly Line[] {
  return Object.entries(values).flatMap(([name, value]): Line[] => {
    if (value === undefined || value === null) return [];
    const text = typeof value === "boolean" ? (value ? "True" : "False") : String(value);
    return LINE_BREAK.test(text) ? [] : [[name, text]];
  });
}

function prefixed(prefix: string, values: Readonly<Record<string, ParameterValue | undefined>>): readonly Line[] {
  return entries(values).map(([name, value]): Line => [`${prefix}${name}`, value]);
}

function sections(all: readonly (readonly [string, readonly Line[]])[]): string {
  return all
    .map(([name, lines]) => [`[${name}]`, ...lines.map(([key, value]) => `${key} = ${value}`), ""].join("\n"))
    .join("\n");
}

/** A description by sections; names are in lower case, as Python's reader has them. */
export type ExportSections = Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;

const SECTION = /^\[([^\]]+)\]$/;
const ENTRY = /^([^=:\s][^=:]*?)\s*[=:]\s*(.*)$/;

/** @throws OpPrereqError (environment_error) for a text that is no description of a version known here */
export function readDescription(text: string): ExportSections {
  const found = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#") || trimmed.startsWith(";")) continue;
    const [, name] = SECTION.exec(trimmed) ?? [];
    if (name !== undefined) {
      section = found.get(name) ?? new Map<string, string>();
      found.set(name, section);
      continue;
    }
    const [, key, value = ""] = ENTRY.exec(trimmed) ?? [];
    if (key === undefined || section === undefined)
      throw new OpPrereqError(
        `The export's description is damaged at ${JSON.stringify(trimmed.slice(0, 80))}`,
        "environment_error",
      );
    section.set(key.toLowerCase(), value);
  }
  const read = Object.fromEntries([...found].map(([name, lines]) => [name, Object.fromEntries(lines)]));
  if (read.export?.version !== String(VERSION) || read.instance === undefined)
    throw new OpPrereqError(
      `The export has version ${read.export?.version ?? "(none)"}; known is ${VERSION}`,
      "environment_error",
    );
  return read;
}
