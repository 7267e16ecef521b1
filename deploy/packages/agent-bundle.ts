/** The agent in one file, as a package ships it. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { build, type Plugin } from "esbuild";

const AGENT_MAIN = path.resolve(import.meta.dirname, "../../services/node-agent/src/main.ts");
/** Packages of the CommonJS kind ask for `require`, which a module does not have. */
const BANNER = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

/** What a package reads from its own folder it finds where the repository is. */
const OWN_FOLDERS: Plugin = {
  name: "own-folders",
  setup({ onLoad }) {
    onLoad({ filter: /\/node_modules\/.*\.c?js$/ }, async ({ path: file }) => {
      const contents = await readFile(file, "utf8");
      return { contents: contents.replaceAll(/\b__dirname\b/g, JSON.stringify(path.dirname(file))) };
    });
  },
};

/** @param bundle - the file to be written, `.mjs` */
export async function bundleAgent(bundle: string): Promise<void> {
  await build({
    entryPoints: [AGENT_MAIN],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "esm",
    keepNames: true,
    // The text of a program stays in memory: 5 to 7 MiB less. Names are kept, so that a stack trace still tells them.
    minify: true,
    banner: { js: BANNER },
    plugins: [OWN_FOLDERS],
    logLevel: "error",
  });
}
