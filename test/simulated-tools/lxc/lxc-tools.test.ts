/** Simulated lxc against what the real one printed. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { askTool } from "../ask-tool.ts";
import { installSimulatedTools } from "../install.ts";
import { comparableAnswer, RECORDED_FILES, RECORDED_FOLDER, recordedSession } from "./recorded/index.ts";

let folder: string;
let files: string;
let binFolder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), "gannet-simulated-lxc-")));
  files = path.join(folder, "files");
  ({ binFolder } = await installSimulatedTools({ folder: path.join(folder, "node"), volumeGroups: [] }));
  for (const made of ["root/bin", "lxc"]) await mkdir(path.join(files, made), { recursive: true });
  for (const [name, text] of Object.entries(RECORDED_FILES)) {
    await mkdir(path.dirname(path.join(files, name)), { recursive: true });
    await writeFile(path.join(files, name), text.replaceAll(RECORDED_FOLDER, files));
  }
});
afterEach(() => rm(folder, { recursive: true }));

const run = (command: readonly string[]) => askTool(binFolder, command, { from: RECORDED_FOLDER, to: files });

test("a session of the real lxc is answered, but for where in its source lxc was", async () => {
  const session = recordedSession();
  expect(session.length).toBeGreaterThan(20);
  for (const step of session) {
    if ("event" in step) throw new Error(`nothing happens in this session, as ${step.event}`);
    const command = step.command.join(" ");
    const answer = comparableAnswer(await run(step.command));
    expect({ command, ...answer }).toEqual({ command, ...comparableAnswer(step.answer) });
  }
});
