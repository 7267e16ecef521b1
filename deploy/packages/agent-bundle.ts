/** The agent in one file, as a package ships it, for use beside the repository. */
import { bundleProgram } from "./bundle.ts";

/** @param bundle - the file to be written, `.mjs` */
export async function bundleAgent(bundle: string): Promise<void> {
  await bundleProgram("services/node-agent/src/main.ts", bundle, { ownFolders: "in-repository" });
}
