/** Two data volumes that are one file while their ends are connected; see world.ts. */
import { execFileSync } from "node:child_process";
import { linkSync, realpathSync, renameSync, rmSync, statSync } from "node:fs";

/** Let the target's volume be the source's file. */
export function share(sourcePath: string, targetPath: string): void {
  const [source, target] = [realpathSync(sourcePath), realpathSync(targetPath)];
  if (isShared(source, target)) return;
  const temporary = `${target}.drbd`;
  rmSync(temporary, { force: true });
  linkSync(source, temporary);
  renameSync(temporary, target);
}

/** Give a volume a file of its own, with what both had. Who has it open keeps the other. */
export function separate(leavingPath: string, stayingPath: string): void {
  const [leaving, staying] = [realpathSync(leavingPath), realpathSync(stayingPath)];
  if (!isShared(leaving, staying)) return;
  const temporary = `${leaving}.drbd`;
  execFileSync("/bin/cp", ["--sparse=always", "--reflink=auto", "--preserve=mode", staying, temporary]);
  renameSync(temporary, leaving);
}

/** Changes with every write. */
export function writeStamp(volume: string): string {
  return statSync(volume, { bigint: true }).mtimeNs.toString();
}

export function sizeKibOf(volume: string): number {
  return Math.floor(statSync(volume).size / 1024);
}

function isShared(one: string, other: string): boolean {
  const [a, b] = [statSync(one), statSync(other)];
  return a.ino === b.ino && a.dev === b.dev;
}
