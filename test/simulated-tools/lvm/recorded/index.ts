/** What lvm2 2.03.16 answered on three loop devices of 1 GiB, in the order it was asked (session.txt). */
import { readFileSync } from "node:fs";
import path from "node:path";
import { type Answer, parseSession, type SessionStep } from "../../recorded-session.ts";

export const RECORDED_GROUP = { name: "xenvg", physicalVolumes: ["/dev/loop0", "/dev/loop1", "/dev/loop2"] } as const;
/** The session's only event. */
export const LOSS = { event: "/dev/loop2 is taken away", physicalVolume: "/dev/loop2" } as const;

export function recordedSession(): readonly SessionStep[] {
  return parseSession(readFileSync(path.join(import.meta.dirname, "session.txt"), "utf8"));
}

/** Each physical volume has a UUID of its own, and the real LVM forgets its name on the way. */
export function withoutIdentity({ stdout, stderr, exitCode }: Answer): Answer {
  return {
    stdout,
    stderr: stderr
      .replaceAll(/[0-9A-Za-z]{6}(-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}/g, "UUID")
      .replaceAll(/\(last written to .*\)/g, ""),
    exitCode,
  };
}
