/** What is read of simulated DRBD: /proc/drbd and drbdsetup's reports, byte for byte as 8.4.11 has them. */
import { deviceKib, doneKib } from "./replication.ts";
import { counterpart, diskOf, type End, endsOf, type Net, peerOf, type World } from "./world.ts";

export const VERSION = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: F73C670A7EC572DB9CF3E5B \n";

/** /proc/drbd of a node. */
export function procDrbd(world: World, node: string, nowMs: number): string {
  return (
    VERSION +
    devicesOf(world, node)
      .map((end) => procDevice(world, end, nowMs))
      .join("")
  );
}

function procDevice(world: World, end: End, nowMs: number): string {
  const { minor, connection, role, net, volume, syncPaused } = end;
  if (connection === "StandAlone" && volume === undefined && role === "Secondary")
    return `${pad(minor)}: cs:Unconfigured\n`;
  const peer = peerOf(world, end);
  const protocol = net === undefined ? " " : (net.options.protocol ?? "C");
  const flags = ["r", "-", "-", syncPaused ? "u" : "-", "-", "-"];
  if (peer?.syncPaused) flags[2] = "p";
  return [
    `${pad(minor)}: cs:${connection} ro:${role}/${peer?.role ?? "Unknown"} ds:${diskOf(end)}/${peer === undefined ? "DUnknown" : diskOf(peer)} ${protocol} ${flags.join("")}\n`,
    `    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:${end.writeOrdering.charAt(0)} oos:${outOfSyncKib(world, end, nowMs)}\n`,
    progress(world, end, nowMs),
  ].join("");
}

function progress(world: World, end: End, nowMs: number): string {
  const sync = syncOf(world, end);
  if (sync === undefined) return "";
  const done = doneKib(sync, nowMs);
  const left = sync.totalKib - done;
  const permille = sync.totalKib === 0 ? 1000 : Math.floor((1000 * done) / sync.totalKib);
  const steps = Math.floor(permille / 50);
  const bar = `${"=".repeat(Math.max(0, steps - 1))}>${".".repeat(20 - steps)}`;
  const first = `\t[${bar}] sync'ed: ${String(Math.floor(permille / 10)).padStart(2)}.${permille % 10}% (${left}/${sync.totalKib})K\n`;
  if (sync.sinceMs === undefined) return first;
  const seconds = Math.ceil(left / sync.kibPerSecond);
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  const speed = Math.round(sync.kibPerSecond).toLocaleString("en-US");
  const want = end.connection === "SyncTarget" ? ` want: ${speed}` : "";
  return `${first}\tfinish: ${Math.floor(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)} speed: ${speed} (${speed})${want} K/sec\n`;
}

export function roleOf(world: World, end: End): string {
  return `${end.role}/${peerOf(world, end)?.role ?? "Unknown"}\n`;
}

export function diskStateOf(world: World, end: End): string {
  const peer = peerOf(world, end);
  return `${diskOf(end)}/${peer === undefined ? "DUnknown" : diskOf(peer)}\n`;
}

export function events(world: World, ends: readonly End[], options: { statistics: boolean }, nowMs: number): string {
  const of = (statistics: string) => (options.statistics ? statistics : "");
  const kinds: ((end: End) => string | undefined)[] = [
    ({ name, role, writeOrdering }) =>
      `resource name:${name} role:${role} suspended:no${of(` write-ordering:${writeOrdering}`)}`,
    (end) =>
      end.net &&
      `connection name:${end.name} peer-node-id:0 conn-name:peer connection:${linkOf(end)} role:${peerOf(world, end)?.role ?? "Unknown"}${of(" congested:no")}`,
    (end) =>
      end.minor === undefined
        ? undefined
        : `device name:${end.name} volume:0 minor:${end.minor} disk:${diskOf(end)}${of(` size:${deviceKib(world, end)} read:0 written:0 al-writes:0 bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:no blocked:no`)}`,
    (end) =>
      end.net && end.minor !== undefined
        ? `peer-device name:${end.name} peer-node-id:0 conn-name:peer volume:0 replication:${replicationOf(world, end)} peer-disk:${peerDisk(world, end)} resync-suspended:${suspendedBy(world, end)}${of(` received:0 sent:0 out-of-sync:${outOfSyncKib(world, end, nowMs)} pending:0 unacked:0`)}`
        : undefined,
  ];
  const lines = kinds.flatMap((kind) => ends.map(kind)).filter((line) => line !== undefined);
  return [...lines, "-"].map((line) => `exists ${line}\n`).join("");
}

export function status(world: World, ends: readonly End[]): string {
  return ends
    .map((end) => {
      const lines = [`${end.name} role:${end.role}`];
      if (end.minor !== undefined) lines.push(`  disk:${diskOf(end)}`);
      const peer = peerOf(world, end);
      if (peer !== undefined)
        lines.push(
          `  peer role:${peer.role}`,
          `    replication:${replicationOf(world, end)} peer-disk:${diskOf(peer)}`,
        );
      else if (end.net !== undefined) lines.push(`  peer connection:${linkOf(end)}`);
      return `${lines.join("\n")}\n\n`;
    })
    .join("");
}

export function show(ends: readonly End[]): string {
  return ends.map(showResource).join("");
}

/** Options that `show` prints in quotes. */
const QUOTED = new Set(["cram-hmac-alg", "shared-secret"]);
/** The kernel's own values, which `show` leaves out. */
const DEFAULTS: Readonly<Record<string, string>> = {
  protocol: "C",
  "on-io-error": "detach",
  "disk-barrier": "no",
  "disk-drain": "yes",
  "disk-flushes": "yes",
  "md-flushes": "yes",
  "allow-two-primaries": "no",
  "c-plan-ahead": "20",
};
const NET_ORDER = [
  "protocol",
  "allow-two-primaries",
  "cram-hmac-alg",
  "shared-secret",
  "after-sb-0pri",
  "after-sb-1pri",
];
const DISK_ORDER = [
  ...["size", "disk-barrier", "disk-flushes", "disk-drain", "md-flushes", "resync-rate"],
  ...["c-plan-ahead", "c-delay-target", "c-fill-target", "c-max-rate", "c-min-rate"],
];
const COMMENTS: Readonly<Record<string, string>> = {
  size: " # bytes",
  "resync-rate": " # bytes/second",
  "c-plan-ahead": " # 1/10 seconds",
  "c-delay-target": " # 1/10 seconds",
  "c-fill-target": " # bytes",
  "c-max-rate": " # bytes/second",
  "c-min-rate": " # bytes/second",
};

function showResource({ name, minor, net, volume }: End): string {
  const lines = [`resource ${name} {`, "    options {", "    }"];
  if (net !== undefined) {
    const options = { ...net.options, ...(net.secret === "" ? {} : { "shared-secret": net.secret }) };
    lines.push("    net {", ...optionLines(options, NET_ORDER, 8), "    }");
    lines.push("    _remote_host {", `        address\t\t\t${shownAddress(net.peer)};`, "    }");
  }
  lines.push("    _this_host {");
  if (net !== undefined) lines.push(`        address\t\t\t${shownAddress(net.local)};`);
  if (minor !== undefined) lines.push("        volume 0 {", `            device\t\t\tminor ${minor};`);
  if (volume !== undefined) {
    const options = { ...volume.options, ...(volume.wantedKib === 0 ? {} : { size: `${volume.wantedKib * 2}s` }) };
    const index = volume.metadataIndex === "flexible" ? "" : ` [ ${volume.metadataIndex} ]`;
    lines.push(
      `            disk\t\t\t"${volume.dataPath}";`,
      `            meta-disk\t\t\t"${volume.metadataPath}"${index};`,
    );
    lines.push("            disk {", ...optionLines(options, DISK_ORDER, 16), "            }");
  }
  if (minor !== undefined) lines.push("        }");
  return `${[...lines, "    }", "}"].join("\n")}\n`;
}

function optionLines(options: Readonly<Record<string, string>>, order: readonly string[], indent: number): string[] {
  return order
    .filter((name) => options[name] !== undefined && options[name] !== DEFAULTS[name])
    .map((name) => {
      const value = options[name] ?? "";
      const shown = QUOTED.has(name) ? `"${value}"` : value;
      return `${" ".repeat(indent)}${name.padEnd(16)}\t${shown};${COMMENTS[name] ?? ""}`;
    });
}

function shownAddress(address: Net["local"]): string {
  return address.replace(":", " ");
}

function devicesOf(world: World, node: string): End[] {
  return endsOf(world, node).filter(({ minor }) => minor !== undefined);
}

function pad(minor: number | undefined): string {
  return String(minor ?? "").padStart(2);
}

function linkOf({ connection }: End): string {
  if (connection === "StandAlone") return "StandAlone";
  return connection === "WFConnection" ? "Connecting" : "Connected";
}

function replicationOf(world: World, end: End): string {
  if (peerOf(world, end) === undefined) return "Off";
  return end.connection === "Connected" ? "Established" : end.connection;
}

function peerDisk(world: World, end: End): string {
  const peer = peerOf(world, end);
  return peer === undefined ? "DUnknown" : diskOf(peer);
}

function suspendedBy(world: World, end: End): string {
  const by = [...(end.syncPaused ? ["user"] : []), ...(peerOf(world, end)?.syncPaused ? ["peer"] : [])];
  return by.length === 0 ? "no" : by.join(",");
}

function syncOf(world: World, end: End): End["sync"] {
  if (peerOf(world, end) === undefined) return undefined;
  return end.sync ?? counterpart(world, end)?.sync;
}

/** Two new ends have nothing in common yet. */
function outOfSyncKib(world: World, end: End, nowMs: number): number {
  const sync = syncOf(world, end);
  if (sync !== undefined) return sync.totalKib - doneKib(sync, nowMs);
  return diskOf(end) === "Inconsistent" ? deviceKib(world, end) : 0;
}
