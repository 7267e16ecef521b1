/** What is made of the output of Xen's commands; real output was recorded with Xen 4.17 on Debian 12. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseDomainList } from "../../../src/hypervisors/xen/domain-list.ts";
import { listeningPorts } from "../../../src/hypervisors/xen/guest-receiver.ts";
import { parseHostInfo } from "../../../src/hypervisors/xen/host-info.ts";
import { parseProgress } from "../../../src/hypervisors/xen/migration-progress.ts";

const sample = (name: string) => readFileSync(new URL(`./samples/${name}`, import.meta.url), "utf8");

const HEADER = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n";
const NODE = "Domain-0                                     0   768     1     r-----      46.3\n";

describe("the list of domains", () => {
  it("is read as it was recorded", () => {
    expect(parseDomainList(sample("xl-list-4.17"))).toEqual([
      { name: "Domain-0", id: 0, memoryMib: 768, vcpus: 1, status: "running", cpuSeconds: 46.3, uuid: undefined },
    ]);
  });

  it.each([
    ["r-----", "running"],
    ["-b----", "running"],
    ["------", "running"],
    ["--p---", "paused"],
    ["---s--", "shutdown"],
    ["---s-d", "shutdown"],
    ["---sr-", "running"],
    ["---ss-", "suspended"],
    ["---ssd", "crashed"],
    ["---sc-", "crashed"],
    ["---sw-", "crashed"],
    ["-----d", "crashed"],
  ])("%s is %s", (flags, status) => {
    const row = `web1.example                                12   128     2     ${flags}       0.5\n`;
    expect(parseDomainList(HEADER + NODE + row)[1]).toMatchObject({ id: 12, memoryMib: 128, vcpus: 2, status });
  });

  it("tells UUIDs, and long and strange names, and leaves out what has lost its name", () => {
    const uuid = "7f2b5a39-32ad-43a7-8b3b-0fb6a9d8b6ab";
    const long = "x".repeat(60);
    const rows = [
      `${long} 3 128 1 -b---- 1.0 ${uuid}        -                -`,
      `web1--incoming                               4   128     0     --p---       0.0 ${uuid}        -                -`,
      "(null)                                       5     0     1     ---s-d       9.9",
      "by hand                                      6    64     1     -b----      10.0",
    ];
    expect(parseDomainList(HEADER + NODE + rows.join("\n")).slice(1)).toMatchObject([
      { name: long, uuid },
      { name: "web1--incoming", uuid, status: "paused" },
      { name: "by hand", uuid: undefined },
    ]);
  });

  it.each([
    ["nothing", ""],
    ["another table", "hello\n"],
    ["a table without domain 0", HEADER],
    ["a row that is none", `${HEADER}${NODE}web1 twelve\n`],
    ["a list that is cut off", `${HEADER}${NODE}web1.example     12   12`],
  ])("%s is an error", (_what, text) => {
    expect(() => parseDomainList(text)).toThrow(/list of Xen's domains cannot be read/);
  });
});

describe("what Xen tells of the machine", () => {
  it("is read as it was recorded", () => {
    expect(parseHostInfo(sample("xl-info-4.17"))).toEqual({
      version: "4.17.7",
      memoryTotalMib: 1535,
      memoryFreeMib: 748,
      cpuTotal: 1,
      cpuSockets: 1,
      cpuNumaNodes: 1,
      hvm: true,
    });
  });

  it("is an error without a number that is needed", () => {
    expect(() => parseHostInfo(sample("xl-info-4.17").replace("748", "plenty"))).toThrow(/free_memory/);
    expect(() => parseHostInfo("")).toThrow(/nr_cpus/);
  });
});

it("the progress of a migration is the last that was printed", () => {
  const printed =
    "Saving to migration stream new xl format (info 0x3/0x0/1796)\nxc: Frames: 1024/65536    1%\rxc: Frames: 32768/65536   50%";
  expect(parseProgress(printed)).toEqual({ transferredBytes: 32768 * 4096, totalBytes: 65536 * 4096 });
  expect(parseProgress("xc: progress: Frames iteration 2 of 5: 7/70   10%\n")).toMatchObject({
    transferredBytes: 7 * 4096,
  });
  expect(parseProgress("migration target: Ready to receive domain.\n")).toBeUndefined();
});

it("ports that something listens on are told from connections", () => {
  const table = [
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
    "   0: 0100007F:1F42 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0",
    "   1: 0100007F:1F43 0100007F:D2A4 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1",
  ];
  expect([...listeningPorts(table.join("\n"))]).toEqual([8002]);
});
