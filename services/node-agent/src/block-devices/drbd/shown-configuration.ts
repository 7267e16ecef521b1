/** Reads `drbdsetup show` of 8.4 and 9: which volumes and which peer each configured resource has, and no secret. */
import { BlockDeviceError } from "@gannet/errors";
import type { DrbdAddress } from "./drbd-disk.ts";

export interface ShownResource {
  readonly name: string;
  /** Absent while the resource has been made and its device has not. */
  readonly minor?: number | undefined;
  /** Absent while it is diskless. */
  readonly dataPath?: string | undefined;
  readonly metadataPath?: string | undefined;
  /** Absent while it stands alone. */
  readonly connection?: ShownConnection | undefined;
}

export interface ShownConnection {
  readonly local: DrbdAddress;
  readonly peer: DrbdAddress;
  readonly dualPrimary: boolean;
  /** With 9 only. */
  readonly peerNodeId?: number | undefined;
}

/** `name argument… { … }` or `name value;`. */
interface Statement {
  readonly words: readonly string[];
  readonly block: readonly Statement[];
}

/** A quoted text, a comment to the end of its line, a character of the syntax, or a word. */
const TOKEN = /"((?:[^"\\]|\\.)*)"|#[^\n]*|([{};])|([^\s{};"]+)/g;

/** @throws BlockDeviceError when it is not what drbdsetup prints */
export function parseShow(text: string): readonly ShownResource[] {
  return parseStatements(tokens(text))
    .filter(({ words }) => words[0] === "resource")
    .map(resourceOf);
}

function resourceOf({ words, block }: Statement): ShownResource {
  const thisHost = find(block, "_this_host");
  const volume = find(thisHost?.block ?? [], "volume");
  const minor = value(volume?.block ?? [], "device", "minor")?.[0];
  const connection = find(block, "connection");
  return {
    name: words[1] ?? "",
    minor: minor === undefined ? undefined : Number(minor),
    dataPath: existing(value(volume?.block ?? [], "disk")?.[0]),
    metadataPath: existing(value(volume?.block ?? [], "meta-disk")?.[0]),
    connection: connection === undefined ? connectionOf84(block) : connectionOf9(connection.block),
  };
}

function connectionOf84(block: readonly Statement[]): ShownConnection | undefined {
  const local = value(find(block, "_this_host")?.block ?? [], "address");
  const peer = value(find(block, "_remote_host")?.block ?? [], "address");
  if (local === undefined || peer === undefined) return undefined;
  return { local: addressOf(local), peer: addressOf(peer), dualPrimary: mayBeDual(block) };
}

function connectionOf9(block: readonly Statement[]): ShownConnection | undefined {
  const path = find(block, "path")?.block ?? [];
  const local = value(path, "_this_host");
  const peer = value(path, "_remote_host");
  if (local === undefined || peer === undefined) return undefined;
  const peerNodeId = Number(value(block, "_peer_node_id")?.[0]);
  return {
    ...{ local: addressOf(local), peer: addressOf(peer), dualPrimary: mayBeDual(block) },
    peerNodeId: Number.isNaN(peerNodeId) ? undefined : peerNodeId,
  };
}

function mayBeDual(block: readonly Statement[]): boolean {
  return value(find(block, "net")?.block ?? [], "allow-two-primaries")?.[0] === "yes";
}

/** `ipv4 192.0.2.1:11000`, `ipv6 [2001:db8::1]:11000`. */
function addressOf([family, text = ""]: readonly string[]): DrbdAddress {
  const [, host, port] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(text) ?? [];
  if ((family !== "ipv4" && family !== "ipv6") || host === undefined)
    throw new BlockDeviceError("drbdsetup shows an address of an unknown kind");
  return { family, host, port: Number(port) };
}

function existing(disk: string | undefined): string | undefined {
  return disk === "none" ? undefined : disk;
}

function find(block: readonly Statement[], name: string): Statement | undefined {
  return block.find(({ words, block: inner }) => words[0] === name && inner.length > 0);
}

/** The words after these at the beginning of a statement. */
function value(block: readonly Statement[], ...names: readonly string[]): readonly string[] | undefined {
  const found = block.find(({ words }) => names.every((name, index) => words[index] === name));
  return found?.words.slice(names.length);
}

function parseStatements(text: readonly string[]): readonly Statement[] {
  const open: { words: string[]; block: Statement[] }[] = [{ words: [], block: [] }];
  let words: string[] = [];
  for (const token of text) {
    if (token === "{") {
      open.push({ words, block: [] });
      words = [];
    } else if (token === ";" || token === "}") {
      const closed = token === "}" ? open.pop() : { words, block: [] };
      const around = open.at(-1);
      if (closed === undefined || around === undefined || (token === "}" && words.length > 0)) throw unexpected();
      around.block.push(closed);
      words = [];
    } else {
      words.push(unquoted(token));
    }
  }
  const [top, ...unclosed] = open;
  if (top === undefined || unclosed.length > 0 || words.length > 0) throw unexpected();
  return top.block;
}

/** Quoted texts with their quotes, so that `"{"` is no brace. */
function tokens(text: string): readonly string[] {
  return [...text.matchAll(TOKEN)].map(([token]) => token).filter((token) => !token.startsWith("#"));
}

function unquoted(token: string): string {
  return token.startsWith('"') ? token.slice(1, -1).replace(/\\(.)/g, "$1") : token;
}

/** Its text is not shown: it may hold secrets. */
function unexpected(): BlockDeviceError {
  return new BlockDeviceError("drbdsetup shows a configuration that cannot be understood");
}
