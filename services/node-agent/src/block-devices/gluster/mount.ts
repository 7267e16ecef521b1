/** Whether a Gluster volume is mounted, and how it is mounted (spec/node-ops.json, `storage.gluster`). */
import { isIPv6 } from "node:net";

/** A volume of a Gluster cluster, and a server that knows it. */
export interface GlusterVolume {
  readonly host: string;
  readonly port: number;
  readonly name: string;
}

/** What is mounted there; undefined when nothing is. Of several on top of each other the last is what is seen. */
export function mountedAt(mountInfo: string, mountPoint: string): string | undefined {
  return mountInfo
    .split("\n")
    .map((line) => {
      // proc_pid_mountinfo(5): the mount point is the fifth field; after a lone `-` come type and source.
      const [fields = "", details = ""] = line.split(" - ");
      return { at: unescaped(fields.split(" ")[4] ?? ""), source: unescaped(details.split(" ")[1] ?? "") };
    })
    .findLast(({ at }) => at === mountPoint)?.source;
}

export function mountCommand(volume: GlusterVolume, mountPoint: string): readonly [string, ...string[]] {
  const options = `server-port=${volume.port}`;
  return ["/usr/bin/mount", "-t", "glusterfs", "-o", options, mountSource(volume), mountPoint];
}

/** As mount(8) takes and shows it. */
export function mountSource({ host, name }: GlusterVolume): string {
  return `${host}:/${name}`;
}

/** How qemu reaches a file of the volume by itself. */
export function fileUri({ host, port, name }: GlusterVolume, file: string): string {
  return `gluster://${isIPv6(host) ? `[${host}]` : host}:${port}/${name}/${file}`;
}

/** Blanks and backslashes are written as three octal digits. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
