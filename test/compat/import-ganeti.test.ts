/**
 * A real cluster's configuration, taken over, gives the answers that the real cluster gave. The recorded configuration
 * (its cluster part) and the recorded answers are of two clusters made alike; what differs is put into the configuration
 * as Ganeti would have it.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { configViewOf } from "@gannet/config-store";
import type { ConfigView } from "@gannet/objects";
import { clusterInfo, groupRow, instanceRow, type LiveValues, nodeRow } from "@gannet/query";
import { describe, expect, test } from "vitest";
import { translateConfiguration } from "../../services/admin/src/import-ganeti/translation.ts";

type Json = Record<string, unknown>;

const FOLDER = path.resolve(import.meta.dirname, "../../services/admin/test/import-ganeti/recorded");
const read = (name: string) => JSON.parse(readFileSync(path.join(FOLDER, name), "utf8")) as Json;
const answers = read("rapi-3.0.json") as { info: Json; nodes: Json[]; groups: Json[]; instances: Json[] };

/** No node has reported: what they tell is not compared. */
const NOTHING_LIVE: LiveValues = { node: () => undefined, instance: () => undefined, console: () => undefined };
const OF_NODES: ReadonlySet<string> = new Set([
  ...["dtotal", "dfree", "sptotal", "spfree", "mtotal", "mnode", "mfree", "ctotal", "cnos", "cnodes", "csockets"],
  ...["oper_state", "oper_ram", "oper_vcpus", "status"],
]);
const OF_THE_PROGRAM: ReadonlySet<string> = new Set([
  "software_version",
  "protocol_version",
  "config_version",
  "export_version",
  "vcs_version",
  "architecture",
]);
/** Parameters that only one of the two has, and values of one that have another name in the other. */
const OWN_WAYS: ReadonlySet<string> = new Set([
  "xen_cmd",
  "tsc_mode",
  "guest_type",
  "uefi",
  "secure_boot",
  "vtpm",
  "user-id",
  "format",
]);

const byName = (rows: readonly Json[]) => new Map(rows.map((row) => [String(row.name), row]));
const uuidOfNode = (name: unknown) => String(byName(answers.nodes).get(String(name))?.uuid);
const stamps = ({ ctime, mtime, serial_no, uuid, tags }: Json) => ({ ctime, mtime, serial_no, uuid, tags });
const listed = (row: Json, key: string) => row[key] as readonly unknown[];

/** The configuration that the cluster with the recorded answers had. */
function configuration(): Json {
  const file = read("config.data-3.0.json");
  const { ctime, mtime, uuid, tags } = answers.info;
  const disks = answers.instances.flatMap((row) =>
    listed(row, "disk.uuids").map((disk, index) => ({
      ...{ uuid: disk, ctime: row.ctime, mtime: row.mtime, serial_no: 1 },
      dev_type: row.disk_template,
      logical_id: ["loop", `/srv/ganeti/file-storage/${row.name}/${disk}`],
      children: [],
      iv_name: `disk/${index}`,
      size: listed(row, "disk.sizes")[index],
      mode: "rw",
      params: {},
    })),
  );
  const table = (rows: readonly Json[]) => Object.fromEntries(rows.map((row) => [row.uuid, row]));
  return {
    ...file,
    cluster: {
      ...(file.cluster as Json),
      ...{ ctime, mtime, uuid, tags, candidate_certs: {} },
      master_node: uuidOfNode(answers.info.master),
    },
    nodegroups: table(
      answers.groups.map((row) => ({ ...(Object.values(file.nodegroups as Json)[0] as Json), ...stamps(row) })),
    ),
    nodes: table(
      answers.nodes.map((row) => ({
        ...stamps(row),
        name: row.name,
        primary_ip: row.pip,
        secondary_ip: row.sip,
        master_candidate: row.master_candidate,
        offline: row.offline,
        drained: row.drained,
        group: row["group.uuid"],
        master_capable: row.master_capable,
        vm_capable: row.vm_capable,
        ndparams: {},
        powered: true,
      })),
    ),
    instances: table(
      answers.instances.map((row) => ({
        ...stamps(row),
        name: row.name,
        primary_node: uuidOfNode(row.pnode),
        os: row.os,
        hypervisor: "fake",
        hvparams: row.custom_hvparams,
        beparams: row.custom_beparams,
        osparams: {},
        osparams_private: {},
        admin_state: row.admin_state,
        admin_state_source: "admin",
        nics: listed(row, "nic.macs").map((mac, index) => ({
          mac,
          uuid: listed(row, "nic.uuids")[index],
          ip: listed(row, "nic.ips")[index],
          nicparams: listed(row, "custom_nicparams")[index],
        })),
        disks: row["disk.uuids"],
        disks_active: row.admin_state === "up",
      })),
    ),
    disks: table(disks),
  };
}

const translation = translateConfiguration(configuration());
const view: ConfigView = (() => {
  if (translation.rows === undefined) throw new Error(JSON.stringify(translation.problems));
  return configViewOf(translation.rows);
})();

/** Without what nodes or programs tell, lists of names in order, sets of parameters without what one of both lacks. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value))
    return value.every((item) => typeof item === "string") ? value.toSorted() : value.map(comparable);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !OF_NODES.has(key) && !OF_THE_PROGRAM.has(key) && !OWN_WAYS.has(key))
      .map(([key, inner]) => [key, key === "disk_discard" && inner === "default" ? "ignore" : comparable(inner)]),
  );
}

describe("an imported cluster answers as the real one did", () => {
  test("nothing is left out", () => {
    expect(translation.problems).toEqual([]);
  });

  test("/2/info", () => {
    const facts = {
      softwareVersion: "",
      protocolVersion: 0,
      configVersion: 0,
      osApiVersion: 20,
      exportVersion: 0,
      vcsVersion: "",
    };
    const ours = comparable(clusterInfo(view, { ...facts, architecture: ["64bits", "x86_64"] })) as Json;
    const theirs = comparable(answers.info) as Json;
    for (const [key, value] of Object.entries(theirs)) expect([key, ours[key]]).toEqual([key, value]);
  });

  test.each(answers.nodes.map((row) => [String(row.name), row] as const))("/2/nodes/%s", (name, row) => {
    const node = view.findNode(name);
    expect(comparable(node && nodeRow(node, view, NOTHING_LIVE))).toEqual(comparable(row));
  });

  test.each(answers.groups.map((row) => [String(row.name), row] as const))("/2/groups/%s", (name, row) => {
    const group = [...view.groups.values()].find((each) => each.name === name);
    expect(comparable(group && groupRow(group, view))).toEqual(comparable(row));
  });

  test.each(answers.instances.map((row) => [String(row.name), row] as const))("/2/instances/%s", (name, row) => {
    const instance = view.findInstance(name);
    // Ours tell a little more.
    expect(comparable(instance && instanceRow(instance, view, NOTHING_LIVE))).toMatchObject(comparable(row) as Json);
  });
});
