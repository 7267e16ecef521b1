/** Simulated drbdsetup of 8.4: its commands on the world of simulated DRBD. */
import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ToolAnswer } from "../faults.ts";
import { sizeKibOf } from "./contents.ts";
import { NO_UUID, readMetadata } from "./metadata.ts";
import { publish, watchResync } from "./publish.ts";
import { attached, beginGeneration, detach, force, isSyncing, part, settle } from "./replication.ts";
import { diskStateOf, events, roleOf, show, status } from "./reports.ts";
import { changeWorld, diskOf, type End, endsOf, networkOf, peerOf, type World } from "./world.ts";

interface Call {
  readonly world: World;
  readonly node: string;
  readonly nowMs: number;
  /** The command's arguments. */
  readonly names: readonly string[];
  readonly options: Readonly<Record<string, string>>;
  readonly watch: "resyncs" | "nothing";
}

/** A command that fails, with the kernel's words. */
class Failure extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Codes and words of drbd_errcode and of the kernel's state changes (drbd-utils 9.22, drbdsetup-84). */
const failure = (object: string, code: number, text: string) =>
  new Failure(`${object}: Failure: (${code}) ${text}`, 10);
const refused = (object: string, code: number, text: string) =>
  new Failure(`${object}: State change failed: (${code}) ${text}`, 11);

const COMMANDS: Readonly<Record<string, (call: Call) => string>> = {
  "new-resource": ({ world, node, names: [name = ""] }) => {
    if (endsOf(world, node).some((end) => end.name === name)) return "";
    world.ends.push({
      node,
      name,
      role: "Secondary",
      connection: "StandAlone",
      syncPaused: false,
      writeOrdering: "flush",
    });
    return "";
  },

  "new-minor": (call) => {
    const [name = "", number = ""] = call.names;
    const end = resourceNamed(call, name);
    const minor = Number(number);
    if (endsOf(call.world, call.node).some((each) => each.minor === minor))
      throw failure(name, 161, "Minor or volume exists already (delete it first)");
    end.minor = minor;
    return "";
  },

  attach: (call) => {
    const { world, nowMs, options } = call;
    const [minor = "", dataPath = "", metadataPath = "", metadataIndex = ""] = call.names;
    const end = deviceOf(call);
    if (end.volume !== undefined) throw failure(minor, 124, "Device is attached to a disk (use detach first)");
    if (!existsSync(dataPath)) throw failure(minor, 104, "Can not open backing device.");
    if (!existsSync(metadataPath)) throw failure(minor, 105, "Can not open meta device.");
    const metadata = readMetadata(metadataPath);
    if (metadata === undefined) throw failure(minor, 119, "No valid meta-data signature found.");
    const { size, ...others } = options;
    const wantedKib = size === undefined ? 0 : kibOf(size);
    if (wantedKib > sizeKibOf(dataPath)) throw failure(minor, 111, "Low.dev. smaller than requested DRBD-dev. size.");
    end.volume = {
      ...{ dataPath, metadataPath, metadataIndex, wantedKib, metadata },
      disk: metadata.isUpToDate ? "UpToDate" : "Inconsistent",
      options: others,
    };
    end.writeOrdering = options["disk-flushes"] === "no" ? "drain" : "flush";
    attached(world, end, nowMs);
    return "";
  },

  "disk-options": (call) => {
    const end = deviceOf(call);
    if (end.volume === undefined) throw failure(call.names[0] ?? "", 138, "Device does not have a disk-config");
    Object.assign(end.volume.options, call.options);
    return "";
  },

  connect: (call) => {
    const [name = "", local = "", peer = ""] = call.names;
    const end = resourceNamed(call, name);
    if (end.net !== undefined) throw failure(name, 125, "Device has a net-config (use disconnect first)");
    if (endsOf(call.world, call.node).some((each) => each.net?.local === local))
      throw failure(name, 102, "Local address(port) already in use.");
    const { "shared-secret": secret = "", ...options } = call.options;
    end.net = { local, peer, secret, options };
    end.connection = "WFConnection";
    return "";
  },

  "net-options": (call) => {
    const end = connectionOf(call);
    const peer = peerOf(call.world, end);
    if (call.options["allow-two-primaries"] === "no" && end.role === "Primary" && peer?.role === "Primary")
      throw failure(end.name, 139, "Can not clear allow_two_primaries as long as\nthere a primaries on both sides");
    if (end.net !== undefined) Object.assign(end.net.options, call.options);
    return "";
  },

  disconnect: (call) => {
    part(call.world, connectionOf(call));
    return "";
  },

  primary: (call) => {
    const { world, nowMs, options } = call;
    const end = deviceOf(call);
    const [minor = ""] = call.names;
    const peer = peerOf(world, end);
    const allowsTwo = ({ net }: End) => net?.options["allow-two-primaries"] === "yes";
    if (peer?.role === "Primary") {
      if (!allowsTwo(end)) throw refused(minor, -1, "Multiple primaries not allowed by config");
      if (!allowsTwo(peer)) throw refused(minor, -10, "State change was refused by peer node");
    }
    if (options.force === "yes") force(world, end, nowMs);
    const hasData = diskOf(end) === "UpToDate" || (peer !== undefined && diskOf(peer) === "UpToDate");
    if (!hasData) throw refused(minor, -2, "Need access to UpToDate data");
    end.role = "Primary";
    if (peer === undefined && end.volume?.metadata.uuids[1] === NO_UUID) beginGeneration(end);
    return "";
  },

  secondary: (call) => {
    deviceOf(call).role = "Secondary";
    return "";
  },

  detach: (call) => {
    const end = deviceOf(call);
    const peer = peerOf(call.world, end);
    if (end.role === "Primary" && (peer === undefined || diskOf(peer) !== "UpToDate"))
      throw refused(call.names[0] ?? "", -2, "Need access to UpToDate data");
    detach(call.world, end);
    return "";
  },

  resize: (call) => {
    const { world, options } = call;
    const [minor = ""] = call.names;
    const end = deviceOf(call);
    const peer = peerOf(world, end);
    if (end.volume === undefined) throw failure(minor, 138, "Device does not have a disk-config");
    if (end.connection !== "Connected" && peer !== undefined)
      throw failure(minor, 130, "Resize not allowed during resync.");
    if (end.role === "Secondary" && peer?.role !== "Primary")
      throw failure(minor, 131, "Need one Primary node to resize.");
    end.volume.wantedKib = kibOf(options.size ?? "0");
    return "";
  },

  "pause-sync": (call) => {
    const end = deviceOf(call);
    if (end.syncPaused) throw failure(call.names[0] ?? "", 135, "Sync-pause flag is already set");
    end.syncPaused = true;
    return "";
  },

  "resume-sync": (call) => {
    const end = deviceOf(call);
    if (!end.syncPaused) throw failure(call.names[0] ?? "", 136, "Sync-pause flag is already cleared");
    end.syncPaused = false;
    return "";
  },

  down: (call) => {
    const end = resourceNamed(call, call.names[0] ?? "");
    end.role = "Secondary";
    part(call.world, end);
    detach(call.world, end);
    call.world.ends.splice(call.world.ends.indexOf(end), 1);
    return "";
  },

  role: (call) => roleOf(call.world, deviceOf(call)),
  dstate: (call) => diskStateOf(call.world, deviceOf(call)),
  cstate: (call) => `${deviceOf(call).connection}\n`,
  "get-gi": (call) => {
    const end = deviceOf(call);
    if (end.volume === undefined) throw failure(call.names[0] ?? "", 138, "Device does not have a disk-config");
    const { uuids, isUpToDate } = end.volume.metadata;
    const bit = (is: boolean) => (is ? 1 : 0);
    const flags = [isUpToDate, isUpToDate, end.role === "Primary", peerOf(call.world, end) !== undefined];
    return `${withPrimaryBit(uuids, end.role).join(":")}:${flags.map(bit).join(":")}:0:0:0\n`;
  },
  show: ({ world, node, names: [which = "all"] }) =>
    show(endsOf(world, node).filter((end) => which === "all" || end.name === which || `${end.minor}` === which)),
  events2: ({ world, node, names: [which = "all"], options, nowMs }) =>
    events(
      world,
      endsOf(world, node).filter(({ name }) => which === "all" || name === which),
      { statistics: options.statistics === "yes" },
      nowMs,
    ),
  status: ({ world, node }) => status(world, endsOf(world, node)),
};

/** Those that may also stand apart from their option. */
const WITH_VALUE = [
  "shared-secret",
  "cram-hmac-alg",
  "protocol",
  "size",
  "resync-rate",
  "after-sb-0pri",
  "after-sb-1pri",
];
const CONNECT_POLL_MS = 50;

/**
 * One call of drbdsetup on a node.
 * @param words - the command, its arguments and options
 * @param watch - whether a process keeps /proc/drbd while a resync runs, or only the next command does
 */
export async function drbdsetup(
  nodeFolder: string,
  words: readonly string[],
  watch: "resyncs" | "nothing" = "resyncs",
): Promise<ToolAnswer> {
  const [command = "", ...args] = words;
  const { names, options } = parseArguments(args);
  const call = { node: nodeFolder, names, options, watch };
  try {
    if (command === "wait-connect") return await waitConnect(call);
    const work = COMMANDS[command];
    if (work === undefined) return { exitCode: 20, stderr: `drbdsetup ${command}: no such command\n` };
    return { exitCode: 0, stdout: await inWorld(call, work) };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { exitCode: error.exitCode, stderr: `${error.message}\n` };
  }
}

async function inWorld<Result>(asked: Omit<Call, "world" | "nowMs">, work: (call: Call) => Result): Promise<Result> {
  const network = networkOf(asked.node);
  return changeWorld(network, (world) => {
    const nowMs = Date.now();
    settle(world, nowMs);
    const wasSyncing = isSyncing(world);
    const result = work({ ...asked, world, nowMs });
    settle(world, nowMs);
    publish(world, network, nowMs);
    if (asked.watch === "resyncs" && !wasSyncing && isSyncing(world)) watchResync(network);
    return result;
  });
}

async function waitConnect(asked: Omit<Call, "world" | "nowMs">): Promise<ToolAnswer> {
  for (;;) {
    const state = await inWorld(asked, (call) => deviceOf(call).connection);
    if (state !== "WFConnection") return { exitCode: state === "StandAlone" ? 5 : 0 };
    await delay(CONNECT_POLL_MS);
  }
}

function parseArguments(words: readonly string[]): Pick<Call, "names" | "options"> {
  const names: string[] = [];
  const options: Record<string, string> = {};
  const left = [...words];
  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    const [, name, value] = /^--([^=]+)(?:=([\s\S]*))?$/.exec(word) ?? [];
    if (name === undefined) names.push(word);
    else options[name] = value ?? (WITH_VALUE.includes(name) ? (left.shift() ?? "") : "yes");
  }
  return { names, options };
}

function resourceNamed({ world, node }: Call, name: string): End {
  const found = endsOf(world, node).find((end) => end.name === name);
  if (found === undefined) throw failure(name, 158, "Unknown resource");
  return found;
}

function deviceOf({ world, node, names: [minor = ""] }: Call): End {
  const found = endsOf(world, node).find((end) => `${end.minor}` === minor);
  if (found === undefined) throw failure(minor, 127, "Device minor not allocated");
  return found;
}

function connectionOf({ world, node, names: [local = "", peer = ""] }: Call): End {
  const found = endsOf(world, node).find(({ net }) => net?.local === local && net.peer === peer);
  if (found === undefined) throw failure(local, 126, "UnknownMandatoryTag");
  return found;
}

/** `65536k`, `64m`, or sectors. */
function kibOf(size: string): number {
  const [, digits, unit] = /^(\d+)([smkgKMG]?)$/.exec(size) ?? [];
  const factor = { s: 0.5, k: 1, m: 1024, g: 1024 ** 2, "": 0.5 }[(unit ?? "").toLowerCase()] ?? 1;
  return Math.floor(Number(digits) * factor);
}

function withPrimaryBit([current, ...others]: readonly string[], role: End["role"]): string[] {
  const value = BigInt(`0x${current}`) | (role === "Primary" ? 1n : 0n);
  return [value.toString(16).toUpperCase().padStart(16, "0"), ...others];
}
