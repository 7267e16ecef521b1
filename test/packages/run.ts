/**
 * `make packages`: builds the packages into dist/ and, as root, installs, upgrades, removes and purges them in a clean
 * Debian. Ends with one line, `N passed, N failed, N skipped`.
 */
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { createLogger } from "@gannet/telemetry";
import { type BuiltPackage, buildPackages } from "../../deploy/packages/build-packages.ts";
import { buildVersion } from "../../deploy/packages/build-version.ts";
import { REPOSITORY } from "../../deploy/packages/bundle.ts";
import { CleanRoot } from "./clean-root.ts";
import { type LifeParts, STEPS } from "./life-in-clean-root.ts";

const MIB = 1024 * 1024;
const DIST = path.join(REPOSITORY, "dist");
const CACHE = path.resolve(
  process.env.GANNET_PACKAGES_CACHE ||
    (process.env.XDG_CACHE_HOME
      ? path.join(process.env.XDG_CACHE_HOME, "gannet-packages")
      : path.join(REPOSITORY, ".state/packages")),
);

const runner = createCommandRunner({
  logger: await createLogger({ name: "packages", level: "warn", format: "pretty" }),
});
const version = await buildVersion(process.env, runner);
await removeFormer();
const built = await buildPackages({ ...version, folder: DIST, compression: "zstd", runner });
for (const { file } of built) {
  const { size } = await stat(file);
  console.log(`${path.relative(REPOSITORY, file)}: ${(size / MIB).toFixed(1)} MiB`);
}

const counts = { passed: 0, failed: 0, skipped: 0 };
if (process.getuid?.() === 0) await liveInCleanRoot();
else {
  counts.skipped = STEPS.length;
  console.log("skipped: a clean Debian is made and entered as root only");
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** dist/ holds one build. */
async function removeFormer(): Promise<void> {
  await mkdir(DIST, { recursive: true });
  for (const name of await readdir(DIST)) if (name.endsWith(".deb")) await rm(path.join(DIST, name));
}

/** One step builds on the one before: after a failure the rest counts as failed. */
async function liveInCleanRoot(): Promise<void> {
  const work = await mkdtemp(path.join(tmpdir(), "gannet-clean-root-"));
  try {
    const folder = path.join(work, "former");
    await mkdir(folder);
    // Sorts before this build, whatever its version.
    const former = await buildPackages({
      version: `${version.version}~former`,
      epoch: version.epoch,
      folder,
      compression: "none",
      runner,
    });
    await mkdir(CACHE, { recursive: true });
    await using root = await CleanRoot.create(path.join(work, "root"), {
      cacheDir: CACHE,
      runner,
      tell: (text) => console.log(text),
    });
    await takeSteps({ root, former: byName(former), current: byName(built) });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function takeSteps(parts: LifeParts): Promise<void> {
  for (const [index, { name, run }] of STEPS.entries()) {
    const since = performance.now();
    try {
      await run(parts);
    } catch (error) {
      console.log(`failed: ${name}\n`, error);
      counts.failed = STEPS.length - index;
      return;
    }
    counts.passed += 1;
    console.log(`passed: ${name} (${((performance.now() - since) / 1000).toFixed(1)} s)`);
  }
}

function byName(packages: readonly BuiltPackage[]): ReadonlyMap<string, string> {
  return new Map(packages.map(({ name, file }) => [name, file]));
}
