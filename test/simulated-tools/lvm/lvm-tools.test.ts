/** The simulated LVM tools against what the real ones printed. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { askTool } from "../ask-tool.ts";
import { setFault } from "../faults.ts";
import { installSimulatedTools, type SimulatedStorageTools } from "../install.ts";
import { LOSS, RECORDED_GROUP, recordedSession, withoutIdentity } from "./recorded/index.ts";
import { losePhysicalVolume, type SimulatedVolumeGroup } from "./state.ts";

let folder: string;
let tools: SimulatedStorageTools;

async function install(volumeGroup: SimulatedVolumeGroup): Promise<void> {
  tools = await installSimulatedTools({ folder, volumeGroups: [volumeGroup] });
}

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-simulated-lvm-"));
});
afterEach(() => rm(folder, { recursive: true }));

const run = (...command: readonly string[]) => askTool(tools.binFolder, command);

test("a session of the real tools is answered byte for byte", async () => {
  await install({
    name: RECORDED_GROUP.name,
    physicalVolumes: RECORDED_GROUP.physicalVolumes.map((name) => ({ name, sizeMib: 1024 })),
  });
  const session = recordedSession();
  expect(session.length).toBeGreaterThan(60);
  for (const step of session) {
    if ("event" in step) {
      expect(step.event).toBe(LOSS.event);
      await losePhysicalVolume(folder, LOSS.physicalVolume);
    } else {
      const [tool = "", ...args] = step.command;
      const command = step.command.join(" ");
      const answer = withoutIdentity(await run(tool, ...args));
      expect({ command, ...answer }).toEqual({ command, ...withoutIdentity(step.answer) });
    }
  }
}, 120_000);

describe("one volume group as in the hardware lab", () => {
  beforeEach(() => install({ name: "xenvg", physicalVolumes: [{ name: "/dev/vdb", sizeMib: 1024 }] }));
  const stdoutOf = async (tool: string, ...args: string[]) => (await run(tool, ...args)).stdout;

  test("active volumes, a snapshot, and what is refused because of it", async () => {
    await run("lvcreate", "-L", "128M", "-n", "disk0", "--addtag", "originstname+inst1", "xenvg", "-Wn");
    await run("lvcreate", "-L", "128M", "-n", "disk1", "xenvg", "-Wn");
    const volumes = [
      "--noheadings",
      "--units=m",
      "--nosuffix",
      "--separator=|",
      "-o",
      "vg_name,lv_name,lv_size,lv_attr",
    ];
    expect(await stdoutOf("lvs", ...volumes)).toBe(
      "  xenvg|disk0|128.00|-wi-a-----\n  xenvg|disk1|128.00|-wi-a-----\n",
    );
    const groups = ["--noheadings", "--nosuffix", "--units=m", "--separator=:", "-o", "vg_name,vg_size,vg_free"];
    expect(await stdoutOf("vgs", ...groups)).toBe("  xenvg:1020.00:764.00\n");
    const snapshot = ["-s", "-L", "32M", "-n", "snap0", path.join(tools.deviceFolder, "xenvg/disk0")];
    expect(await stdoutOf("lvcreate", ...snapshot)).toBe('  Logical volume "snap0" created.\n');
    expect(await run("lvextend", "-L", "+64M", path.join(tools.deviceFolder, "xenvg/disk0"))).toEqual({
      stdout: "",
      stderr: "  Snapshot origin volumes can be resized only while inactive: try lvchange -an.\n",
      exitCode: 5,
    });
    expect(await stdoutOf("lvremove", "-f", "xenvg/snap0")).toBe('  Logical volume "snap0" successfully removed.\n');
    await run("lvremove", "-f", "xenvg/disk1");
    expect(await stdoutOf("lvs")).toBe(
      "  LV    VG    Attr       LSize   Pool Origin Data%  Meta%  Move Log Cpy%Sync Convert\n" +
        "  disk0 xenvg -wi-a----- 128.00m                                                    \n",
    );
  });

  test("a snapshot keeps what its origin held, and goes with it", async () => {
    await run("lvcreate", "-L8m", "-ndisk0", "xenvg");
    const contents = async (name: string) =>
      (await readFile(path.join(tools.deviceFolder, "xenvg", name))).subarray(0, 3);
    const write = async (text: string) => {
      await using device = await open(path.join(tools.deviceFolder, "xenvg/disk0"), "r+");
      await device.write(text);
    };
    await write("old");
    await run("lvcreate", "-s", "-L4m", "-nsnap0", "xenvg/disk0");
    await write("new");
    expect(String(await contents("snap0"))).toBe("old");
    await run("lvremove", "-f", "xenvg/disk0");
    expect(existsSync(path.join(tools.deviceFolder, "xenvg"))).toBe(false);
  });

  test("a volume that a process has open is shown so, and neither deactivated nor removed", async () => {
    await run("lvcreate", "-L8m", "-ndisk0", "xenvg");
    const device = await open(path.join(tools.deviceFolder, "xenvg/disk0"));
    const attributes = ["--noheadings", "-o", "lv_attr"];
    try {
      expect(await stdoutOf("lvs", ...attributes)).toBe("  -wi-ao----\n");
      for (const [tool, option] of [
        ["lvremove", "-f"],
        ["lvchange", "-an"],
      ] as const)
        expect(await run(tool, option, "xenvg/disk0")).toEqual({
          stdout: "",
          stderr: "  Logical volume xenvg/disk0 in use.\n",
          exitCode: 5,
        });
    } finally {
      await device.close();
    }
    await run("lvchange", "-an", "xenvg/disk0");
    expect(await stdoutOf("lvs", ...attributes)).toBe("  -wi-------\n");
    expect(existsSync(path.join(tools.deviceFolder, "xenvg/disk0"))).toBe(false);
  });

  test("of many tools at once each has its whole effect", async () => {
    const names = Array.from({ length: 12 }, (_, index) => `disk${index + 10}`);
    const answers = await Promise.all(names.map((name) => run("lvcreate", "-L4m", `-n${name}`, "xenvg")));
    expect(answers.map(({ exitCode }) => exitCode)).toEqual(names.map(() => 0));
    expect((await stdoutOf("lvs", "--noheadings", "-o", "lv_name")).trim().split(/\s+/)).toEqual(names);
  });

  test("a tool that is killed leaves the lock to the next", async () => {
    setFault(folder, "lvcreate", { when: "after", hang: true });
    const child = execFile(path.join(tools.binFolder, "lvcreate"), ["-L4m", "-ndisk0", "xenvg"], () => {});
    await expect.poll(() => stdoutOf("lvs", "--noheadings", "-o", "lv_name"), { timeout: 30_000 }).toBe("  disk0\n");
    child.kill("SIGKILL");
    expect(await stdoutOf("lvremove", "-f", "xenvg/disk0")).toBe('  Logical volume "disk0" successfully removed.\n');
  });

  test("installing a node again keeps its volumes", async () => {
    await run("lvcreate", "-L4m", "-ndisk0", "xenvg");
    await install({ name: "othervg", physicalVolumes: [] });
    expect(await stdoutOf("lvs", "--noheadings", "-o", "vg_name,lv_name")).toBe("  xenvg disk0\n");
  });
});

describe("blockdev", () => {
  beforeEach(() => install({ name: "xenvg", physicalVolumes: [{ name: "/dev/vdb", sizeMib: 1024 }] }));

  test("tells the size of an active volume", async () => {
    await run("lvcreate", "-L8m", "-ndisk0", "xenvg");
    expect(await run("blockdev", "--getsize64", path.join(tools.deviceFolder, "xenvg/disk0"))).toEqual({
      stdout: "8388608\n",
      stderr: "",
      exitCode: 0,
    });
  });

  test.each(["/nowhere", "/etc"])("fails on %s as the real one", async (target) => {
    const real = await new Promise<string>((resolve) =>
      execFile("/usr/sbin/blockdev", ["--getsize64", target], (_error, _stdout, stderr) => resolve(stderr)),
    );
    expect(await run("blockdev", "--getsize64", target)).toMatchObject({ stderr: real, exitCode: 1 });
  });
});
