/** Version and time of a build: of the commit that is built, so that it is built the same at any later time. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { REPOSITORY } from "./bundle.ts";

export interface BuildVersion {
  /** Debian's form: `0.1.0+20261122114530.gbd05a26`. A later commit sorts after an earlier one. */
  readonly version: string;
  /** Seconds since 1970; the time of all files in the packages (https://reproducible-builds.org/specs/source-date-epoch/). */
  readonly epoch: number;
}

const GIT = "/usr/bin/git";

/** Variables `SOURCE_DATE_EPOCH` and `GANNET_PACKAGE_VERSION` take the place of what git says, for trees without it. */
export async function buildVersion(env: NodeJS.ProcessEnv, runner: CommandRunner): Promise<BuildVersion> {
  const { version: release } = JSON.parse(await readFile(path.join(REPOSITORY, "package.json"), "utf8")) as {
    version: string;
  };
  const given = { epoch: env.SOURCE_DATE_EPOCH, version: env.GANNET_PACKAGE_VERSION };
  if (given.epoch !== undefined && !/^\d{1,12}$/.test(given.epoch))
    throw new Error(`SOURCE_DATE_EPOCH is "${given.epoch}"; it must be seconds since 1970`);
  if (given.version !== undefined && !/^\d[A-Za-z0-9.+~]*$/.test(given.version))
    throw new Error(
      `GANNET_PACKAGE_VERSION is "${given.version}"; a version begins with a digit and has only A-Z a-z 0-9 . + ~`,
    );
  if (given.epoch !== undefined && given.version !== undefined)
    return { epoch: Number(given.epoch), version: given.version };
  const commit = await runner.run({
    argv: [GIT, "-c", `safe.directory=${REPOSITORY}`, "log", "-1", "--abbrev=7", "--format=%ct %h"],
    cwd: REPOSITORY,
    timeoutMs: 30_000,
  });
  const [seconds = "", hash = ""] = commit.stdout.trim().split(" ");
  const epoch = Number(given.epoch ?? seconds);
  const stamp = new Date(epoch * 1000).toISOString().replaceAll(/[-:T]|\.\d+Z/g, "");
  return { epoch, version: given.version ?? `${release}+${stamp}.g${hash}` };
}
