/** The files a guest leaves on its node, and their removal. */
import { lstat, mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import type { RuntimePaths } from "./runtime-paths.ts";
import { vncSocket } from "./vnc-listener.ts";

/** An empty log that only the agent's user can read; qemu would make it readable for all. */
export async function prepareLog(paths: RuntimePaths): Promise<void> {
  await mkdir(path.dirname(paths.logFile), { recursive: true, mode: 0o700 });
  await rm(paths.logFile, { force: true });
  await writeFile(paths.logFile, "", { mode: 0o600 });
}

/** Sockets and pid file of a qemu that is gone. What is not there is no error. */
export async function removeRuntimeFiles(paths: RuntimePaths): Promise<void> {
  const files = [paths.pidFile, paths.qmpSocket, paths.monitorSocket, paths.serialSocket, paths.guestAgentSocket];
  for (const file of files) await rm(file, { force: true });
}

/** The folder of a VNC socket is an operator's: nothing but the socket itself may go. */
export async function removeVncSocket(guest: GuestSpec): Promise<void> {
  const socket = vncSocket(guest);
  if (socket !== undefined && (await isSocket(socket))) await rm(socket, { force: true });
}

export async function removeLog(paths: RuntimePaths): Promise<void> {
  await rm(paths.logFile, { force: true });
}

async function isSocket(file: string): Promise<boolean> {
  return lstat(file).then(
    (found) => found.isSocket(),
    () => false,
  );
}
