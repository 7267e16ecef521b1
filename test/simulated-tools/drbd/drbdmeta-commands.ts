/** Simulated drbdmeta of 8.4: its commands on metadata volumes. */
import { existsSync } from "node:fs";
import type { ToolAnswer } from "../faults.ts";
import { NEW_METADATA, readMetadata, writeMetadata } from "./metadata.ts";
import { changeWorld, endsOf, type Metadata, networkOf } from "./world.ts";

interface Call {
  readonly volume: string;
  readonly metadata: Metadata | undefined;
  readonly value: string;
}

/** What drbdmeta says of a volume without metadata: nothing. */
const NONE: ToolAnswer = { exitCode: 1 };
const CREATED = [
  "initializing bitmap (4 KB) to all zero",
  "initializing activity log",
  "Writing meta data...",
  "New drbd meta data block successfully created.",
];

const COMMANDS: Readonly<Record<string, (call: Call) => ToolAnswer>> = {
  "create-md": ({ volume }) => {
    writeMetadata(volume, NEW_METADATA);
    return { exitCode: 0, stdout: CREATED.map((line) => `${line}\n`).join("") };
  },
  "write-dev-uuid": ({ volume, metadata, value }) => {
    if (metadata === undefined) return NONE;
    writeMetadata(volume, { ...metadata, deviceUuid: value.toUpperCase() });
    return { exitCode: 0 };
  },
  "apply-al": ({ metadata }) => (metadata === undefined ? NONE : { exitCode: 0 }),
  "get-gi": ({ metadata }) => {
    if (metadata === undefined) return NONE;
    const bit = metadata.isUpToDate ? 1 : 0;
    return { exitCode: 0, stdout: `${metadata.uuids.join(":")}:${bit}:${bit}:0:0:0:0:0\n` };
  },
};

/**
 * One call of drbdmeta on a node.
 * @param words - `[--force] <device> v08 <metadata volume> <index> <command> [value]`
 */
export function drbdmeta(nodeFolder: string, words: readonly string[]): Promise<ToolAnswer> {
  const [device = "", , volume = "", , command = "", value = ""] = words.filter((word) => word !== "--force");
  return changeWorld(networkOf(nodeFolder), (world): ToolAnswer => {
    const work = COMMANDS[command];
    if (work === undefined) return { exitCode: 20, stderr: `drbdmeta: Unknown command '${command}'.\n` };
    if (!existsSync(volume)) return { exitCode: 20, stderr: `open(${volume}) failed: No such file or directory\n` };
    const isAttached = endsOf(world, nodeFolder).some((end) => end.volume?.metadataPath === volume);
    if (isAttached) return { exitCode: 20, stderr: `Device '${/\d+$/.exec(device)?.[0] ?? device}' is configured!\n` };
    return work({ volume, metadata: readMetadata(volume), value });
  });
}
