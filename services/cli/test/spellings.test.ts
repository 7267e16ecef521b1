/** Command lines as Ganeti's tools take them, and the parameters they mean. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nounOfProgram } from "../src/nouns.ts";
import { parsed } from "./parsed.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gnt-spellings-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const paramsOf = (line: string) => parsed(...line.split(" ")).gathered.params;

describe("what options mean", () => {
  test.each<[line: string, params: object]>([
    [
      "instance add -t drbd -n node1:node2 -s 10g -o debootstrap+default -B memory=512m,vcpus=2 web1",
      {
        disk_template: "drbd",
        pnode: "node1",
        snode: "node2",
        disks: [{ size: "10g" }],
        os_type: "debootstrap+default",
        beparams: { memory: "512m", vcpus: "2" },
      },
    ],
    [
      "instance add --disk 0:size=1g,mode=ro --disk 1:size=2g,spindles=3 --net 0:link=br0,mac=auto -I hail web1",
      {
        disks: [
          { size: "1g", mode: "ro" },
          { size: "2g", spindles: 3 },
        ],
        nics: [{ link: "br0", mac: "auto" }],
        iallocator: "hail",
      },
    ],
    [
      "instance add -H kvm:kernel_path=,acpi=false,no_serial_console --no-nics --no-start --no-install web1",
      {
        hypervisor: "kvm",
        hvparams: { kernel_path: "", acpi: false, serial_console: false },
        nics: [],
        start: false,
        no_install: true,
      },
    ],
    ["instance add -H fake --no-wait-for-sync web1", { hypervisor: "fake", hvparams: {}, wait_for_sync: false }],
    [
      "instance modify --disk add:size=1G --disk 1:remove --disk 0:mode=ro --disk data:detach web1",
      {
        disks: [
          ["add", -1, { size: "1G" }],
          ["remove", 1, {}],
          ["modify", 0, { mode: "ro" }],
          ["detach", "data", {}],
        ],
      },
    ],
    [
      "instance modify --net 2:add,link=br1 --net remove -B memory=1g -H vnc_bind_address=0.0.0.0 web1",
      {
        nics: [
          ["add", 2, { link: "br1" }],
          ["remove", -1, {}],
        ],
        beparams: { memory: "1g" },
        hvparams: { vnc_bind_address: "0.0.0.0" },
      },
    ],
    ["instance modify --offline web1", { offline: true }],
    ["instance stop --timeout 5 --no-remember web1", { timeout: 5, no_remember: true }],
    [
      "instance start --paused -B vcpus=1 -B memory=64 web1",
      { startup_paused: true, beparams: { vcpus: "1", memory: "64" } },
    ],
    [
      "instance migrate --non-live --allow-failover --cleanup web1",
      { mode: "non-live", allow_failover: true, cleanup: true },
    ],
    ["instance replace-disks -s --disks 0,2 web1", { mode: "replace_on_secondary", disks: [0, 2] }],
    [
      "instance recreate-disks --disk 1:size=3g --disk 2 -n a:b web1",
      { disks: [[1, { size: "3g" }], 2], nodes: ["a", "b"] },
    ],
    ["node modify -C yes -O no --auto-promote node1", { master_candidate: true, offline: false, auto_promote: true }],
    ["node evacuate -s -I hail node1", { mode: "secondary-only", iallocator: "hail" }],
    [
      "cluster modify -H kvm:kernel_path=/x,acpi=true -H fake:migration_mode=live -B vcpus=2 --uid-pool 5,1000-1010",
      {
        hvparams: { kvm: { kernel_path: "/x", acpi: true }, fake: { migration_mode: "live" } },
        beparams: { vcpus: "2" },
        uid_pool: [
          [5, 5],
          [1000, 1010],
        ],
      },
    ],
    [
      "cluster modify --enabled-hypervisors kvm,fake --hidden-os +a,-b",
      {
        enabled_hypervisors: ["kvm", "fake"],
        hidden_os: [
          ["add", "a"],
          ["remove", "b"],
        ],
      },
    ],
    ['cluster modify --ipolicy {"vcpu-ratio":2}', { ipolicy: { "vcpu-ratio": 2 } }],
    [
      "network add --network 192.0.2.0/24 --add-reserved-ips 192.0.2.1,192.0.2.2 lan",
      { network: "192.0.2.0/24", add_reserved_ips: ["192.0.2.1", "192.0.2.2"] },
    ],
    [
      "instance remove --dry-run --priority high --depend 17:success --depend 18 web1",
      {
        dry_run: true,
        priority: -10,
        depends: [
          [17, ["success"]],
          [18, []],
        ],
      },
    ],
    [
      "node failover --ignore-consistency --shutdown-timeout 10 -n node2 node1",
      { ignore_consistency: true, shutdown_timeout: 10, target_node: "node2" },
    ],
    ["cluster epo --power-delay 5 --timeout 10 --groups rack1", { power_delay: 5, timeout: 10 }],
    ["instance info -s web1", { static: true }],
  ])("gnt %s", (line, params) => expect(paramsOf(line)).toEqual(params));

  test("what stands between the last arguments and before the noun means the same", () => {
    expect(paramsOf("--cluster prod instance add web1 -s 1g")).toEqual({ disks: [{ size: "1g" }] });
  });

  test("a job filter", () => {
    const predicates = '[["jobid", [">", "id", "watermark"]]]';
    expect(
      parsed("filter", "add", "--priority", "5", "--predicates", predicates, "--action", "PAUSE").gathered,
    ).toEqual({
      params: { priority: 5, predicates: [["jobid", [">", "id", "watermark"]]], action: "PAUSE" },
      control: {},
    });
    expect(parsed("filter", "add", "--action", '["RATE_LIMIT", 3]').gathered.params).toEqual({
      action: ["RATE_LIMIT", 3],
    });
  });

  test("commas and backslashes in values have a backslash before them", () => {
    expect(parsed("instance", "modify", "-H", "kernel_args=a\\,b\\\\c,acpi", "web1").gathered.params).toEqual({
      hvparams: { kernel_args: "a,b\\c", acpi: true },
    });
  });

  test("secret parameters come from a file, as lines or as JSON", async () => {
    const lines = path.join(folder, "lines");
    await writeFile(lines, "password=a,b\\c=d\n\nuser=root\n");
    const json = path.join(folder, "json");
    await writeFile(json, '{"password": "x"}');
    const add = ["instance", "add", "-s", "1g", "web1"];
    expect(
      parsed(...add, "--os-parameters-secret", lines, "--os-parameters-private", json).gathered.params,
    ).toMatchObject({
      osparams_secret: { password: "a,b\\c=d", user: "root" },
      osparams_private: { password: "x" },
    });
  });

  test("large parameters come from a file", async () => {
    const file = path.join(folder, "policy");
    await writeFile(file, '{"spindle-ratio": 8}');
    expect(parsed("group", "modify", "--ipolicy", `@${file}`, "default").gathered.params).toEqual({
      ipolicy: { "spindle-ratio": 8 },
    });
  });
});

test.each<[line: string, why: RegExp]>([
  ["instance add --disk 1:size=1g web1", /next index is 0, not 1/],
  ["instance add --disk size=1g web1", /takes N:key=value/],
  ["instance add -s 1g -s 2g web1", /either -s or --disk/],
  ["instance add -B memory=1,memory=2 web1", /'memory' twice/],
  ["instance add -t floppy web1", /--disk-template takes one of blockdev, .*, not "floppy"/],
  ["node modify -O maybe node1", /--offline takes yes or no, not "maybe"/],
  ["instance stop --timeout soon web1", /--timeout takes a number, not "soon"/],
  ["cluster modify -H acpi=true", /NAME:key=value/],
  ["cluster modify --ipolicy {", /--ipolicy takes JSON/],
  ["instance remove --priority 5 web1", /low, normal or high/],
  ["instance modify --disk grow web1", /add:key=value/],
])("gnt %s is refused", (line, why) => {
  expect(() => paramsOf(line)).toThrow(why);
  expect(() => paramsOf(line)).toThrow(OpPrereqError);
});

test("programs named for a noun begin with it", () => {
  expect(["gnt", "gnt-instance", "gnt-job", "gnt-nothing"].map(nounOfProgram)).toEqual([
    undefined,
    "instance",
    "job",
    undefined,
  ]);
});
