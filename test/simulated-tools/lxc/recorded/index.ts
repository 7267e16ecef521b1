/** What lxc 5.0.2 answered on a node of the lab, in the order it was asked (session.txt), about the container below. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { type Answer, parseSession, type SessionStep } from "../../recorded-session.ts";

/** Where the session has its files. */
export const RECORDED_FOLDER = "/run/recorded";

const ROOT = `${RECORDED_FOLDER}/root`;

function configuration(root: string): string {
  return [
    "lxc.uts.name = web1.example",
    `lxc.rootfs.path = dir:${root}`,
    "lxc.hook.stop = /bin/true",
    "lxc.apparmor.profile = unconfined",
    "lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0",
    "",
  ].join("\n");
}

/** A container whose init ends when it is asked to, and one that has no root. */
export const RECORDED_FILES: Readonly<Record<string, string>> = {
  "web1.conf": configuration(ROOT),
  "rootless.conf": configuration(`${RECORDED_FOLDER}/nosuch`),
  "root/sbin/init": "#!/bin/sh\ntrap 'exit 0' PWR\nwhile :; do sleep 0.1; done\n",
};

/** Script that makes the rest of the container's root, of busybox. */
export const MAKE_ROOT = [
  `mkdir ${RECORDED_FOLDER}/lxc; cd ${ROOT}`,
  "mkdir -p bin proc sys dev etc tmp",
  "cp /bin/busybox bin/ && ln -s busybox bin/sh && ln -s busybox bin/sleep && chmod 755 sbin/init",
].join("\n");

export function recordedSession(): readonly SessionStep[] {
  return parseSession(readFileSync(path.join(import.meta.dirname, "session.txt"), "utf8"));
}

/** Without where in its source lxc was when it complained. */
export function comparableSession(steps: readonly SessionStep[]): readonly SessionStep[] {
  return steps.map((step) => ("event" in step ? step : { ...step, answer: withoutPlaces(step.answer) }));
}

function withoutPlaces({ stdout, stderr, exitCode }: Answer): Answer {
  return { stdout, stderr: stderr.replaceAll(/\.\.\/src\/lxc\/\S+: \w+: \d+ /g, ""), exitCode };
}
