import { readFileSync } from "node:fs";
import path from "node:path";
import { BlockDeviceError } from "@gannet/errors";
import { describe, expect, test } from "vitest";
import * as reports from "../../../src/block-devices/lvm/reports.ts";

/** Printed by lvm2 2.03.16 on three loop devices, without a device mapper, so that it knows no state (`X`). */
const recorded = (name: string) => readFileSync(path.join(import.meta.dirname, "recorded", name), "utf8");

test("logical volumes, striped, in pieces, with and without tags", () => {
  const common = { volumeGroup: "xenvg", attributes: "-wi-XX----", origin: "", extentBytes: 4_194_304 };
  expect(reports.parseLogicalVolumes(recorded("lvs.txt"))).toEqual([
    {
      ...{ ...common, name: "disk0", sizeBytes: 134_217_728, groupFreeBytes: 1_572_864_000, stripes: 1 },
      ...{ tags: ["gannetdisk+0123", "originstname+inst1"], devices: ["/dev/loop0"] },
    },
    {
      ...{ ...common, name: "disk1", sizeBytes: 138_412_032, groupFreeBytes: 1_572_864_000, stripes: 3 },
      ...{ tags: [], devices: ["/dev/loop0", "/dev/loop1", "/dev/loop2"] },
    },
    {
      ...{ ...common, name: "disk2", sizeBytes: 1_363_148_800, groupFreeBytes: 1_572_864_000, stripes: 1 },
      ...{ tags: [], devices: ["/dev/loop1", "/dev/loop0"] },
    },
  ]);
});

test("what lies on a physical volume that is gone", () => {
  const [partial, whole] = reports.parseLogicalVolumes(recorded("lvs-missing.txt"));
  expect(partial?.devices).toEqual(["[unknown]", "/dev/loop0"]);
  expect(whole?.devices).toEqual(["/dev/loop0"]);
});

test("groups and physical volumes, one in none, one set aside and one gone", () => {
  const { volumeGroups, physicalVolumes } = reports.parseStorage(recorded("pvs-missing.txt"));
  expect(volumeGroups).toEqual([
    { name: "xenvg", sizeBytes: 3_208_642_560, freeBytes: 3_208_642_560, attributes: "wz-pn-" },
  ]);
  expect(
    physicalVolumes.map((each) => [
      each.name,
      each.volumeGroup,
      reports.isAllocatable(each),
      reports.isMissing(each),
      each.freeBytes,
    ]),
  ).toEqual([
    ["/dev/loop4", "xenvg", true, false, 1_069_547_520],
    ["/dev/loop5", "xenvg", false, false, 1_069_547_520],
    ["/dev/loop7", "", false, false, 1_073_741_824],
    ["[unknown]", "xenvg", true, true, 1_069_547_520],
  ]);
});

test("nothing at all is no volumes", () => {
  expect(reports.parseLogicalVolumes("")).toEqual([]);
  expect(reports.parseStorage("\n")).toEqual({ volumeGroups: [], physicalVolumes: [] });
});

describe("what is no report is refused", () => {
  const row = "xenvg|disk0|134217728|-wi-a-----|||4194304|1572864000|1|/dev/loop0(0)";
  test.each([
    "%$§!",
    "Segmentation fault",
    row.replace("134217728", "134217728.00"),
    row.replace("134217728", "9".repeat(20)),
    row.replace("-wi-a-----", "-wi"),
    row.replace("/dev/loop0(0)", "/dev/loop0"),
    `${row}|more`,
    row.slice(0, 30),
  ])("%s", (text) => {
    expect(() => reports.parseLogicalVolumes(text)).toThrow(BlockDeviceError);
    expect(() => reports.parseLogicalVolumes(text)).toThrow("What lvs printed is not understood");
  });
});

test.each([
  ["-wi-a-----", { ordinary: true, active: true, open: false }],
  ["-wi-ao----", { ordinary: true, active: true, open: true }],
  ["owi-aos---", { ordinary: true, active: true, open: true }],
  ["-wi-------", { ordinary: true, active: false, open: false }],
  ["swi-a-s---", { ordinary: false, active: true, open: false }],
  ["vwi-a-----", { ordinary: false, active: true, open: false }],
  ["twi-aotz--", { ordinary: false, active: true, open: true }],
])("attributes %s", (attributes, { ordinary, active, open }) => {
  const [volume] = reports.parseLogicalVolumes(`vg|lv|1|${attributes}|||1|1|1|/dev/a(0)`);
  if (volume === undefined) throw new Error("no volume");
  expect([reports.isOrdinary(volume), reports.isActive(volume), reports.isOpen(volume)]).toEqual([
    ...[ordinary, active, open],
  ]);
});
