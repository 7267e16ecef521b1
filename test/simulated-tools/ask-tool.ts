/** Running a simulated tool for a comparison with what the real one printed. */
import { execFile } from "node:child_process";
import path from "node:path";
import type { Answer } from "./recorded-session.ts";

/**
 * @param moved - a folder of the recorded commands, and where it is here; it is not seen in the answer
 */
export function askTool(
  binFolder: string,
  [tool = "", ...args]: readonly string[],
  moved: { readonly from: string; readonly to: string } = { from: "", to: "" },
): Promise<Answer> {
  const there = (text: string) => (moved.to === "" ? text : text.replaceAll(moved.to, moved.from));
  return new Promise((resolve) => {
    execFile(
      path.join(binFolder, tool),
      args.map((arg) => arg.replace(moved.from, moved.to)),
      (error, stdout, stderr) =>
        resolve({
          stdout: there(stdout),
          stderr: there(stderr),
          exitCode: typeof error?.code === "number" ? error.code : 0,
        }),
    );
  });
}
