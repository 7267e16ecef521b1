/** Simulated `blockdev --getsize64`: what passes for a block device here is a file. */
import { statSync } from "node:fs";
import { runWithFaults, type ToolAnswer } from "../faults.ts";

const [nodeFolder = "", option, device = ""] = process.argv.slice(2);

await runWithFaults(nodeFolder, "blockdev", (): ToolAnswer => {
  if (option !== "--getsize64") return failed(`Unknown command: ${option}`);
  const entry = statSync(device, { throwIfNoEntry: false });
  if (entry === undefined) return failed(`cannot open ${device}: No such file or directory`);
  if (!entry.isFile()) return failed("ioctl error on BLKGETSIZE64: Inappropriate ioctl for device");
  return { exitCode: 0, stdout: `${entry.size}\n` };
});

function failed(text: string): ToolAnswer {
  return { exitCode: 1, stderr: `blockdev: ${text}\n` };
}
