/** The programs between both ends' sockets and disks (spec/node-ops.json, `import_export_daemon.compress`). */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";

const FOLDERS = ["/usr/local/bin", "/usr/bin", "/bin"];

interface Tool {
  readonly program: string;
  readonly compress: readonly string[];
  readonly decompress: readonly string[];
}

/** Those with arguments of their own; any other tool compresses without any and expands with `-d`. */
const TOOLS: Readonly<Record<string, Tool>> = {
  gzip: { program: "gzip", compress: ["-1", "-c"], decompress: ["-d", "-c"] },
  "gzip-fast": { program: "gzip", compress: ["-1", "-c"], decompress: ["-d", "-c"] },
  "gzip-slow": { program: "gzip", compress: ["-c"], decompress: ["-d", "-c"] },
  lzop: { program: "lzop", compress: ["-c"], decompress: ["-d", "-c"] },
};

/**
 * The command of one direction; undefined where nothing is compressed.
 * @throws OpPrereqError when this node has no such program
 */
export async function compressionArgv(
  name: string,
  direction: "compress" | "decompress",
): Promise<readonly [string, ...string[]] | undefined> {
  if (name === "none" || name === "") return undefined;
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name))
    throw new OpPrereqError(
      `${JSON.stringify(name.slice(0, 80))} is not the name of a compression tool`,
      "wrong_input",
    );
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined;
  const { program, compress, decompress } = tool ?? { program: name, compress: [], decompress: ["-d"] };
  return [await find(program), ...(direction === "compress" ? compress : decompress)];
}

async function find(program: string): Promise<string> {
  for (const folder of FOLDERS) {
    const file = path.join(folder, program);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  throw new OpPrereqError(
    `The compression tool ${program} is not installed on this node (looked for in ${FOLDERS.join(", ")})`,
    "environment_error",
  );
}
