/** Simulated DRBD answers as the real one did, asked the same questions in the same order. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, realpathSync, truncateSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { installSimulatedTools, type SimulatedStorageTools } from "../install.ts";
import { drbdmeta } from "./drbdmeta-commands.ts";
import { drbdsetup } from "./drbdsetup-commands.ts";
import { comparable, isCompared, recordedCalls, withoutClearing } from "./recorded/index.ts";

const run = promisify(execFile);
const BYTES_PER_MIB = 1024 * 1024;

let base: string;
const tools = new Map<string, SimulatedStorageTools>();
const folderOf = (node: string) => path.join(base, node);
beforeAll(async () => {
  base = realpathSync(await mkdtemp(path.join(tmpdir(), "gannet-drbd-tools-")));
  for (const node of ["node1", "node2"]) {
    const installed = await installSimulatedTools({
      ...{ folder: folderOf(node), volumeGroups: [], networkFolder: path.join(base, "network") },
    });
    tools.set(node, installed);
    mkdirSync(path.join(installed.deviceFolder, "xenvg"));
    for (const [name, mib] of [
      ["d0_data", 64],
      ["d0_meta", 128],
    ] as const) {
      writeFileSync(path.join(installed.deviceFolder, "xenvg", name), "");
      truncateSync(path.join(installed.deviceFolder, "xenvg", name), mib * BYTES_PER_MIB);
    }
  }
});
afterAll(() => rm(base, { recursive: true, maxRetries: 20, retryDelay: 50 }));

/** Each command of a recorded line that is DRBD's, with what it printed; the rest of the lines is not simulated. */
async function replay(node: string, line: string): Promise<string> {
  const { deviceFolder, drbdStatusFile = "" } = tools.get(node) ?? { deviceFolder: "" };
  const outputs: string[] = [];
  for (const part of line.split(/; */)) {
    const words = part
      .replaceAll("/dev/xenvg", `${deviceFolder}/xenvg`)
      .replace(/^timeout 3 /, "")
      .split(" ");
    const [program, ...args] = words;
    if (program === "drbdsetup") {
      const { stdout = "", stderr = "" } = await drbdsetup(folderOf(node), args, "nothing");
      outputs.push(stdout + stderr);
    }
    if (program === "drbdmeta") outputs.push((await drbdmeta(folderOf(node), args)).stdout ?? "");
    if (program === "cat") outputs.push(readFileSync(drbdStatusFile, "utf8"));
    if (program === "tail") outputs.push(`${readFileSync(drbdStatusFile, "utf8").split("\n").slice(-3).join("\n")}`);
    if (program === "lvextend") truncateSync(path.join(deviceFolder, "xenvg", "d0_data"), 96 * BYTES_PER_MIB);
  }
  return outputs.join("").replaceAll(`${deviceFolder}/xenvg`, "/dev/xenvg");
}

test("the recorded session, byte for byte but for counters and identifiers", async () => {
  let compared = 0;
  for (const { node, command, output } of recordedCalls()) {
    const line = withoutClearing(command);
    if (/^for i in/.test(line)) await untilInSync();
    const answer = await replay(node, line);
    if (!isCompared(line)) continue;
    compared += 1;
    expect(comparable(answer), `${node}# ${command}`).toBe(comparable(output));
  }
  expect(compared).toBeGreaterThan(30);
});

test("the tools' programs answer the same", async () => {
  const { binFolder = "" } = tools.get("node1") ?? {};
  const { stdout } = await run(path.join(binFolder, "drbdsetup"), ["show"]);
  expect(stdout).toBe("");
  await expect(run(path.join(binFolder, "drbdsetup"), ["secondary", "0"])).rejects.toMatchObject({ code: 10 });
  await expect(run(path.join(binFolder, "drbdsetup"), ["frobnicate"])).rejects.toMatchObject({ code: 20 });
  const volume = path.join(tools.get("node1")?.deviceFolder ?? "", "xenvg", "d0_meta");
  const { stdout: generations } = await run(path.join(binFolder, "drbdmeta"), [
    ...["--force", "/dev/drbd0", "v08", volume, "flex-external", "get-gi"],
  ]);
  expect(generations).toMatch(/^[0-9A-F]{16}:/);
});

async function untilInSync(): Promise<void> {
  const end = Date.now() + 10_000;
  for (;;) {
    const { stdout = "" } = await drbdsetup(folderOf("node1"), ["status"], "nothing");
    if (stdout.includes("peer-disk:UpToDate")) return;
    if (Date.now() > end) throw new Error("never in sync");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
