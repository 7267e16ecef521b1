/** Ganeti's configurations as rows: each version, each disk template, what is refused, and damage. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { type ConfigRows, configViewOf } from "@gannet/config-store";
import { configurationFindings, drbdIdOf, filledBeparams, filledHvparams, type Instance } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { reportLines } from "../../src/import-ganeti/report.ts";
import { type Translation, translateConfiguration } from "../../src/import-ganeti/translation.ts";
import {
  configuration31,
  configuration213,
  configuration216,
  type Json,
  TEMPLATES,
  uuidOf,
} from "./ganeti-configurations.ts";

const recorded: unknown = JSON.parse(
  readFileSync(path.join(import.meta.dirname, "recorded/config.data-3.0.json"), "utf8"),
);

function rowsOf(translation: Translation): Required<ConfigRows> {
  expect(translation.problems).toEqual([]);
  if (translation.rows === undefined) throw new Error("there are no rows");
  return translation.rows;
}

function instanceNamed(rows: Required<ConfigRows>, name: string): Instance {
  const found = rows.instances.find((instance) => instance.name === `${name}.example.com`);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

/** Change one place of a configuration: `at(json, "nodes", uuid).name = …`. */
function at(json: unknown, ...keys: readonly (string | number)[]): Record<string | number, unknown> {
  return keys.reduce<unknown>((place, key) => (place as Record<string | number, unknown>)[key], json) as never;
}

function pathsOf({ problems }: Translation): readonly string[] {
  return problems.map((problem) => problem.path);
}

describe("each version", () => {
  test("a real 3.0's configuration is taken over whole", () => {
    const translation = translateConfiguration(recorded);
    const rows = rowsOf(translation);
    expect(translation.version).toBe("3.0");
    expect([rows.nodes.length, rows.groups.length, rows.instances.length]).toEqual([4, 1, 12]);
    expect(configurationFindings(configViewOf(rows))).toEqual([]);
    // Only 3.0's word for the default, and what has no use here.
    expect(translation.notes.map((note) => note.path)).toEqual([
      "cluster/hvparams/kvm/disk_discard",
      "cluster/hvparams/xen-pvm/xen_cmd",
      "cluster/hvparams/xen-hvm/xen_cmd",
    ]);
  });

  test("xm, which Xen has no more, becomes xl, and operators are told", () => {
    const translation = translateConfiguration(recorded);
    expect(rowsOf(translation).cluster.hvparams["xen-pvm"]).not.toHaveProperty("xen_cmd");
    const note = translation.notes.find(({ path }) => path === "cluster/hvparams/xen-pvm/xen_cmd");
    expect(note?.text).toMatch(/becomes xl/);
    const xl = structuredClone(recorded);
    at(xl, "cluster", "hvparams", "xen-pvm").xen_cmd = "xl";
    expect(rowsOf(translateConfiguration(xl)).cluster.hvparams["xen-pvm"]).toMatchObject({ xen_cmd: "xl" });
  });

  test("3.1 and 2.16 say the same in their own ways", () => {
    const newer = rowsOf(translateConfiguration(configuration31()));
    const older = rowsOf(translateConfiguration(configuration216()));
    expect(older).toEqual({ ...newer, cluster: { ...newer.cluster, hvState: {}, diskState: {} } });
  });

  test("2.13 has its disks inside the instances, by other names of devices", () => {
    const newer = rowsOf(translateConfiguration(configuration216()));
    const older = rowsOf(translateConfiguration(configuration213()));
    expect(older.instances).toEqual(newer.instances);
    const untimed = (rows: Required<ConfigRows>) =>
      rows.disks.map(({ ctime: _, mtime: __, serialNo: ___, ...disk }) => disk);
    expect(untimed(older)).toEqual(untimed(newer));
    // A disk without times of its own is as old as its instance.
    expect(older.disks.map(({ ctime }) => ctime)).toEqual(newer.disks.map(({ ctime }) => ctime));
    expect(older.cluster.sshKeyType).toBe("dsa");
  });

  test.each([
    [2_110_000, ["version"]],
    [3_020_000, ["version"]],
    ["3.0", ["version"]],
  ])("version %s is not taken without a word", (version, paths) => {
    expect(pathsOf(translateConfiguration({ ...configuration31(), version }))).toEqual(paths);
  });

  test("a newer version can be tried", () => {
    const translation = translateConfiguration({ ...configuration31(), version: 3_020_000 }, { skip: ["version"] });
    expect(translation.problems.map(({ skipped }) => skipped)).toEqual([true]);
    expect(translation.rows?.instances).toHaveLength(TEMPLATES.length);
  });
});

describe("what is kept", () => {
  const rows = rowsOf(translateConfiguration(configuration31()));

  test("serials, times, UUIDs and tags of everything", () => {
    expect(rows.cluster).toMatchObject({
      serialNo: 148,
      ctime: 1_500_000_148,
      uuid: uuidOf("cluster", 1),
      tags: ["site:a", "prod"],
    });
    expect(rows.nodes[1]).toMatchObject({ serialNo: 2, uuid: uuidOf("node", 2), ndparams: { ssh_port: 2222 } });
    expect(rows.disks.map(({ uuid }) => uuid)).toEqual(TEMPLATES.slice(1).map((_, n) => uuidOf("disk", n + 2)));
  });

  test("the cluster's ports, users, parameters and secrets", () => {
    expect(rows.cluster).toMatchObject({
      highestUsedPort: 11_007,
      tcpudpPortPool: [11_003, 11_005],
      macPrefix: "aa:00:01",
      uidPool: [
        [4000, 4019],
        [5000, 5000],
      ],
      hiddenOs: ["old"],
      blacklistedOs: ["bad"],
      osparamsPrivate: { debootstrap: { rootpw: "hunter2" } },
      osHvp: { debootstrap: { kvm: { vga: "std" } } },
      defaultIallocator: "hail",
      hvState: { kvm: { mem_node: 1024 } },
      diskState: { plain: { xenvg: { disk_reserved: 2048 } } },
      ipolicy: { "vcpu-ratio": 8 },
    });
    // Ganeti's collectors that the file does not name are there with their defaults.
    expect(rows.cluster.dataCollectors.drbd).toEqual({ active: false, interval: 5_000_000 });
    expect(rows.cluster.dataCollectors.lv).toEqual({ active: true, interval: 5_000_000 });
  });

  test("groups with their networks, and reservations bit by bit", () => {
    expect(rows.groups[1]).toMatchObject({
      allocPolicy: "last_resort",
      ipolicy: { "vcpu-ratio": 2.5 },
      networks: { [uuidOf("network", 1)]: { mode: "bridged", link: "br7" } },
    });
    expect(rows.networks[0]).toMatchObject({ reservations: "0010000000000000", extReservations: "1100000000000001" });
    expect(configurationFindings(configViewOf(rows)).filter(({ item }) => item.startsWith("network"))).toEqual([]);
  });

  test("filters, whose nanoseconds are more than 53 bits", () => {
    expect(rows.filters[0]).toMatchObject({ watermark: 12, reasonTrail: [["gnt:user:root", "maintenance", 1.5e18]] });
  });

  test("memory, from before there were minmem and maxmem", () => {
    const old = instanceNamed(rows, "diskless");
    expect(filledBeparams(rows.cluster, old)).toMatchObject({ minmem: 1024, maxmem: 1024, vcpus: 2 });
    expect(filledHvparams(rows.cluster, old)).toMatchObject({ kernel_path: "/boot/vmlinuz", vhost_net: true });
  });

  test("each disk template's devices, where they are", () => {
    const ofTemplate = Object.fromEntries(rows.disks.map((disk) => [disk.template, disk]));
    expect(ofTemplate.plain).toMatchObject({ logicalId: ["xenvg", "2.disk0"], name: "system", spindles: 3 });
    expect(ofTemplate.gluster?.logicalId).toEqual([
      "loop",
      `/var/run/ganeti/gluster/ganeti/${uuidOf("instance", 9)}.0`,
    ]);
    expect(ofTemplate.ext).toMatchObject({ logicalId: ["provider1", "7.ext.disk0"], params: { pool: "fast" } });
    expect(ofTemplate.file?.mode).toBe("ro");
    const drbd = ofTemplate.drbd;
    if (drbd === undefined) throw new Error("no DRBD disk");
    expect(drbdIdOf(drbd)).toEqual({
      nodes: [uuidOf("node", 2), uuidOf("node", 1)],
      port: 11_001,
      minors: [4, 0],
      secret: "c0ffee",
    });
    expect(drbd.children.map(({ logicalId, sizeMib }) => [...logicalId, sizeMib])).toEqual([
      ["xenvg", "3.disk0_data", 10_240],
      ["xenvg", "3.disk0_meta", 128],
    ]);
  });

  test("agents that are elsewhere", () => {
    const agentAddresses = new Map([["node2.example.com", "127.0.0.1:4711"]]);
    const translated = rowsOf(translateConfiguration(configuration31(), { agentAddresses }));
    expect(translated.nodes.map(({ agentAddress }) => agentAddress)).toEqual([undefined, "127.0.0.1:4711", undefined]);
    const wrong = translateConfiguration(configuration31(), { agentAddresses: new Map([["nobody", "x:1"]]) });
    expect(pathsOf(wrong)).toEqual(["--node-agent/nobody"]);
  });
});

describe("what cannot be taken over is named", () => {
  const WEB = uuidOf("instance", 2);
  const cases: readonly (readonly [what: string, damage: (json: Json) => void, paths: readonly string[]])[] = [
    [
      "a hypervisor",
      (json) => (at(json, "instances", WEB).hypervisor = "bhyve"),
      ["instances/plain.example.com/hypervisor"],
    ],
    [
      "an enabled hypervisor",
      (json) => (at(json, "cluster").enabled_hypervisors = ["kvm", "bhyve"]),
      ["cluster/enabled_hypervisors/1"],
    ],
    [
      "a disk template",
      (json) => (at(json, "disks", uuidOf("disk", 2)).dev_type = "zfs"),
      [`disks/${uuidOf("disk", 2)}/dev_type`],
    ],
    [
      "a parameter",
      (json) => (at(json, "instances", WEB).hvparams = { kvm_warp: 9 }),
      ["instances/plain.example.com/hvparams/kvm_warp"],
    ],
    [
      "a value",
      (json) => (at(json, "cluster", "hvparams", "kvm").disk_cache = "sometimes"),
      ["cluster/hvparams/kvm/disk_cache"],
    ],
    [
      "a node that is not there",
      (json) => (at(json, "instances", WEB).primary_node = uuidOf("node", 9)),
      ["instances/plain.example.com/primary_node"],
    ],
    [
      "a disk that is not there",
      (json) => delete at(json, "disks")[uuidOf("disk", 2)],
      ["instances/plain.example.com/disks/0"],
    ],
    [
      "a disk of two instances",
      (json) => (at(json, "instances", WEB).disks = [uuidOf("disk", 4)]),
      ["instances/file.example.com/disks/0", `disks/${uuidOf("disk", 2)}`],
    ],
    ["a disk of none", (json) => (at(json, "instances", WEB).disks = []), [`disks/${uuidOf("disk", 2)}`]],
    [
      "DRBD away from its instance",
      (json) =>
        (at(json, "disks", uuidOf("disk", 3)).logical_id = [uuidOf("node", 2), uuidOf("node", 3), 11_001, 0, 0, "x"]),
      [`disks/${uuidOf("disk", 3)}/logical_id`],
    ],
    [
      "half a DRBD disk",
      (json) => (at(json, "disks", uuidOf("disk", 3)).children = []),
      [`disks/${uuidOf("disk", 3)}/children`],
    ],
    [
      "a name twice",
      (json) => (at(json, "instances", WEB).name = "file.example.com"),
      [`instances/${uuidOf("instance", 4)}`],
    ],
    [
      "a MAC address twice",
      (json) => (at(json, "instances", WEB, "nics", 0).mac = "AA:00:01:00:00:04"),
      ["instances/file.example.com"],
    ],
    [
      "a MAC address",
      (json) => (at(json, "instances", WEB, "nics", 0).mac = "01:00:01:00:00:04"),
      ["instances/plain.example.com/nics/0/mac"],
    ],
    [
      "a network that is not there",
      (json) => (at(json, "instances", WEB, "nics", 0).network = "x"),
      ["instances/plain.example.com/nics/0/network"],
    ],
    [
      "reservations of another size",
      (json) => (at(json, "networks", uuidOf("network", 1)).reservations = "01"),
      [
        "networks/frontend/reservations",
        `nodegroups/rack2/networks/${uuidOf("network", 1)}`,
        "instances/diskless.example.com/nics/1/network",
      ],
    ],
    [
      "a tag",
      (json) => (at(json, "nodes", uuidOf("node", 1)).tags = ["ok", "not ok"]),
      ["nodes/node1.example.com/tags/1"],
    ],
    [
      "users twice",
      (json) =>
        (at(json, "cluster").uid_pool = [
          [1, 5],
          [3, 9],
        ]),
      ["cluster/uid_pool"],
    ],
    [
      "a field of another version",
      (json) => (at(json, "nodes", uuidOf("node", 1)).turbo = true),
      ["nodes/node1.example.com/turbo"],
    ],
    ["a table of another version", (json) => (json.maintenance = {}), ["maintenance"]],
    [
      "a group that is not there",
      (json) => (at(json, "nodes", uuidOf("node", 3)).group = "x"),
      ["nodes/node3.example.com/group"],
    ],
    ["a master that is not there", (json) => (at(json, "cluster").master_node = "x"), ["cluster/master_node"]],
    ["no cluster", (json) => delete json.cluster, ["cluster"]],
    ["a cluster's name", (json) => (at(json, "cluster").cluster_name = "-"), ["cluster"]],
  ];

  test.each(cases)("%s", (_, damage, paths) => {
    const json = configuration31();
    damage(json);
    const translation = translateConfiguration(json);
    expect(pathsOf(translation)).toEqual(paths);
    expect(reportLines("config.data", translation).join("\n")).toContain(`${paths[0]}: `);
    const skipped = translateConfiguration(json, { skip: paths });
    const isFatal = translation.rows === undefined;
    expect(skipped.problems.filter((problem) => !problem.skipped)).toHaveLength(isFatal ? 1 : 0);
    expect(skipped.unusedSkips).toEqual(isFatal ? paths : []);
  });

  test("what is skipped is left out, and nothing else", () => {
    const json = configuration31();
    at(json, "instances", WEB).hypervisor = "bhyve";
    const { rows, problems } = translateConfiguration(json, { skip: ["instances/plain.example.com"] });
    expect(problems.map(({ skipped, leavesOut }) => [skipped, leavesOut])).toEqual([[true, "the instance"]]);
    expect(rows?.instances.map(({ name }) => name)).toEqual(
      TEMPLATES.filter((template) => template !== "plain").map((template) => `${template}.example.com`),
    );
    expect(rows?.disks.some(({ uuid }) => uuid === uuidOf("disk", 2))).toBe(false);
  });

  test("a skip that nothing needs is told", () => {
    expect(translateConfiguration(configuration31(), { skip: ["/instances/typo/"] }).unusedSkips).toEqual([
      "instances/typo",
    ]);
  });

  test("no control character of the file reaches the terminal", () => {
    const json = configuration31();
    at(json, "instances", WEB).hypervisor = "\u001b[2J";
    at(json, "instances", WEB).name = "\u001b]0;x\u0007";
    const text = reportLines("config.data", translateConfiguration(json)).join("");
    expect(text).not.toMatch(/\p{Cc}/u);
  });
});

describe("random damage", () => {
  const whole = { "3.1": configuration31(), "2.13": configuration213(), "3.0": recorded };

  test.each(Object.entries(whole))("of %s is a report, never a crash", (_, json) => {
    const places = placesOf(json);
    const damage = fc.record({
      place: fc.nat({ max: places.length - 1 }),
      value: fc.oneof(
        fc.constant(REMOVED),
        fc.jsonValue({ maxDepth: 2 }),
        fc.constantFrom("__proto__", "constructor", -1, 1e300, "", "\u0000", [[]], { __proto__: 1 }),
      ),
    });
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), (damages) => {
        const broken = structuredClone(json);
        for (const { place, value } of damages) damageAt(broken, places[place] ?? [], value);
        const translation = translateConfiguration(broken);
        for (const { path: where, reason } of translation.problems) {
          expect(where).not.toBe("");
          expect(reason).not.toBe("");
        }
        if (translation.rows === undefined) expect(translation.problems).not.toEqual([]);
        // What is taken makes a configuration that can be read.
        else configViewOf(translation.rows);
        reportLines("config.data", translation);
      }),
      { numRuns: Number(process.env.GANNET_HISTORIES ?? 60) },
    );
  });

  test.each([[null], [7], ["text"], [[]], [{}], [{ version: 3_000_000 }], [{ version: 3_000_000, cluster: {} }]])(
    "%j is no configuration",
    (json) => {
      const translation = translateConfiguration(json);
      expect(translation.rows).toBeUndefined();
      expect(translation.problems).toHaveLength(1);
    },
  );
});

const REMOVED = Symbol("removed");
type Place = readonly (string | number)[];

/** The path of every value. */
function placesOf(json: unknown, before: Place = []): readonly Place[] {
  if (typeof json !== "object" || json === null) return [before];
  const keys = Array.isArray(json) ? json.map((_, index) => index) : Object.keys(json);
  return [...(before.length > 0 ? [before] : []), ...keys.flatMap((key) => placesOf(at(json, key), [...before, key]))];
}

function damageAt(json: unknown, place: Place, value: unknown): void {
  const parent = place
    .slice(0, -1)
    .reduce<unknown>(
      (inside, key) =>
        typeof inside === "object" && inside !== null ? (inside as Record<string, unknown>)[key] : undefined,
      json,
    );
  const key = place.at(-1);
  // An earlier damage has taken it away.
  if (typeof parent !== "object" || parent === null || key === undefined) return;
  if (value !== REMOVED) (parent as Record<string, unknown>)[key] = value;
  else if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else delete (parent as Record<string, unknown>)[key];
}
