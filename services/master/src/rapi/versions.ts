/** What `/2/info` and queries of the cluster say of the running program. */
import type { VersionFacts } from "@gannet/query";
import { VERSION_FACTS } from "../version.ts";

/** How Ganeti names processors, by Node's name of the master's (spec/rapi.json, `special.info_architecture`). */
const ARCHITECTURES: Readonly<Record<string, VersionFacts["architecture"]>> = {
  x64: ["64bits", "x86_64"],
  arm64: ["64bits", "aarch64"],
};

export const VERSIONS: VersionFacts = {
  ...VERSION_FACTS,
  architecture: ARCHITECTURES[process.arch] ?? ["64bits", process.arch],
};
