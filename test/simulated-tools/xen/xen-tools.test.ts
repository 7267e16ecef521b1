/** The simulated `xl` against what the real one printed. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { askTool } from "../ask-tool.ts";
import { installSimulatedTools } from "../install.ts";
import { comparableAnswer, HAS_COME, RECORDED_FILES, RECORDED_FOLDER, recordedSession } from "./recorded/index.ts";

let folder: string;
let files: string;
let binFolder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), "gannet-simulated-xen-")));
  files = path.join(folder, "files");
  ({ binFolder } = await installSimulatedTools({ folder: path.join(folder, "node"), volumeGroups: [] }));
  await mkdir(files);
  for (const [name, text] of Object.entries(RECORDED_FILES)) await writeFile(path.join(files, name), text);
});
afterEach(() => rm(folder, { recursive: true }));

const run = (command: readonly string[]) => askTool(binFolder, command, { from: RECORDED_FOLDER, to: files });

/** The recorded Xen is 4.17; the simulated one has this command, as Xen from 4.20 on. */
const NEWER = "xl resume web1.example";

test("a session of the real xl is answered but for what another machine makes different", async () => {
  const session = recordedSession();
  expect(session.length).toBeGreaterThan(45);
  for (const step of session) {
    if ("event" in step) {
      expect(step.event).toBe(HAS_COME.event);
      continue;
    }
    const command = step.command.join(" ");
    const answer = comparableAnswer(step.command, await run(step.command));
    if (command !== NEWER)
      expect({ command, ...answer }).toEqual({ command, ...comparableAnswer(step.command, step.answer) });
  }
});
