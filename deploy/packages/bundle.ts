/** A program of this repository in one file, as a package ships it. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { build, type Plugin } from "esbuild";

export const REPOSITORY: string = path.resolve(import.meta.dirname, "../..");

/** What packages of the CommonJS kind ask for, and a module does not have. */
const BANNER = [
  'import { createRequire } from "node:module";',
  "const require = createRequire(import.meta.url), bundleFolder = import.meta.dirname;",
].join(" ");

export interface Bundle {
  /** Folders of the packages from the registry that went into it, below the repository, sorted. */
  readonly packages: readonly string[];
}

/**
 * @param entry - the program, below the repository
 * @param bundle - the file to be written, `.mjs`
 * @param ownFolders - where packages find what they read from their own folders: in the repository, for a bundle that
 *   is used beside it, or in a folder `node_modules` beside the bundle. Then a bundle is the same wherever it was built.
 */
export async function bundleProgram(
  entry: string,
  bundle: string,
  { ownFolders }: { readonly ownFolders: "in-repository" | "beside-bundle" },
): Promise<Bundle> {
  const { metafile } = await build({
    absWorkingDir: REPOSITORY,
    entryPoints: [entry],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "esm",
    keepNames: true,
    // The text of a program stays in memory: 5 to 7 MiB less. Names are kept, so that a stack trace still tells them.
    minify: true,
    banner: { js: BANNER },
    plugins: [ownFoldersAt(ownFolders === "beside-bundle" ? "bundleFolder" : JSON.stringify(REPOSITORY))],
    metafile: true,
    logLevel: "error",
  });
  const folders = Object.keys(metafile.inputs).map((file) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0]);
  return { packages: [...new Set(folders.filter((folder) => folder !== undefined))].sort() };
}

/** @param root - an expression: what stands for the repository */
function ownFoldersAt(root: string): Plugin {
  return {
    name: "own-folders",
    setup({ onLoad }) {
      onLoad({ filter: /\/node_modules\/.*\.c?js$/ }, async ({ path: file }) => {
        const contents = await readFile(file, "utf8");
        const folder = JSON.stringify(`/${path.relative(REPOSITORY, path.dirname(file))}`);
        return { contents: contents.replaceAll(/\b__dirname\b/g, `(${root}+${folder})`) };
      });
    },
  };
}
