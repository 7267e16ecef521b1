/** A node with simulated tools, of which a recorded session is asked once more. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { askTool } from "./ask-tool.ts";
import { installSimulatedTools } from "./install.ts";
import type { SessionStep } from "./recorded-session.ts";

export interface RecordedPlace {
  /** Where the session had its files. */
  readonly folder: string;
  readonly files: Readonly<Record<string, string>>;
  /** Folders that it had besides. */
  readonly folders?: readonly string[];
}

/**
 * Asks each command of the session, and answers the session of that.
 * @param beforehand - with the node's folder, in which the tools remember
 */
export async function askAgain(
  session: readonly SessionStep[],
  { folder, files, folders = [] }: RecordedPlace,
  beforehand: (nodeFolder: string) => Promise<void> = async () => {},
): Promise<readonly SessionStep[]> {
  const base = await realpath(await mkdtemp(path.join(tmpdir(), "gannet-session-")));
  try {
    const [here, node] = [path.join(base, "files"), path.join(base, "node")];
    const { binFolder } = await installSimulatedTools({ folder: node, volumeGroups: [] });
    await mkdir(here);
    for (const name of folders) await mkdir(path.join(here, name), { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      await mkdir(path.dirname(path.join(here, name)), { recursive: true });
      await writeFile(path.join(here, name), text.replaceAll(folder, here));
    }
    await beforehand(node);
    const told: SessionStep[] = [];
    for (const step of session)
      told.push(
        "event" in step
          ? step
          : { ...step, answer: await askTool(binFolder, step.command, { from: folder, to: here }) },
      );
    return told;
  } finally {
    await rm(base, { recursive: true });
  }
}
