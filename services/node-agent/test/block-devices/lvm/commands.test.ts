import { expect, test } from "vitest";
import * as commands from "../../../src/block-devices/lvm/commands.ts";

const volume = { volumeGroup: "xenvg", name: "abc.disk0" };

test.each([
  [
    commands.createVolume(volume, {
      ...{ sizeMib: 128, stripes: 2, tags: ["gannetdisk+u", "originstname+web1"] },
      physicalVolumes: ["/dev/vdb", "/dev/vdc"],
    }),
    "lvcreate -Wn -L128m -nabc.disk0 -i2 --addtag gannetdisk+u --addtag originstname+web1 xenvg /dev/vdb /dev/vdc",
  ],
  [
    commands.createSnapshot(volume, { name: "abc.disk0.snap", sizeMib: 64, tags: ["gannetdisk+u"] }),
    "lvcreate -L64m -s -nabc.disk0.snap --addtag gannetdisk+u xenvg/abc.disk0",
  ],
  [commands.removeVolume(volume), "lvremove -f xenvg/abc.disk0"],
  [commands.renameVolume(volume, "def.disk0"), "lvrename xenvg abc.disk0 def.disk0"],
  [commands.activateVolume(volume), "lvchange -ay xenvg/abc.disk0"],
  [
    commands.changeTags(volume, { add: ["a"], remove: ["b", "c"] }),
    "lvchange --addtag a --deltag b --deltag c xenvg/abc.disk0",
  ],
  [
    commands.extendVolume(volume, { toKib: 262_144, policy: "cling", physicalVolumes: [] }),
    "lvextend -L 262144k --alloc cling xenvg/abc.disk0",
  ],
  [
    commands.extendVolume(volume, { toKib: 4096, policy: "normal", physicalVolumes: ["/dev/vdb"] }),
    "lvextend -L 4096k --alloc normal xenvg/abc.disk0 /dev/vdb",
  ],
  [commands.setAllocatable("/dev/vdb", true), "pvchange --allocatable y /dev/vdb"],
  [commands.setAllocatable("/dev/vdb", false), "pvchange --allocatable n /dev/vdb"],
  [commands.removeMissing("xenvg", "when no volume suffers"), "vgreduce --removemissing xenvg"],
  [commands.removeMissing("xenvg", "with its volumes"), "vgreduce --removemissing --force xenvg"],
  [commands.checkGroup("xenvg"), "vgs --noheadings --nosuffix xenvg"],
  [
    commands.report("lvs"),
    "lvs --noheadings --nosuffix --units=b --separator=| -o vg_name,lv_name,lv_size,lv_attr,lv_tags,origin,vg_extent_size,vg_free,stripes,devices",
  ],
  [
    commands.report("pvs"),
    "pvs --noheadings --nosuffix --units=b --separator=| -o pv_name,vg_name,pv_size,pv_free,pv_used,pv_attr,vg_size,vg_free,vg_attr",
  ],
])("%j", (command, line) => {
  expect(command.join(" ")).toBe(line);
});
