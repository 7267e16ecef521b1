/** The version this agent reports to the master. */
import manifest from "../package.json" with { type: "json" };

export const AGENT_VERSION: string = manifest.version;
