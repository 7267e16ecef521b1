/** A Debian with what the packages depend on, and nothing else, in which packages are installed as on a new machine. */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CommandResult, CommandRunner } from "@gannet/exec";
import { contained } from "../lab/contained.ts";
import { bootstrap, builtOnce } from "../lab/image/build.ts";

const SUITE = "bookworm";
/** Dependencies of the packages are here already, so that installing them can be seen to fetch nothing. */
const PACKAGES = ["systemd", "redis-server", "openssl", "iproute2", "socat", "libstdc++6", "bash", "logrotate"];
const INSTALL_TIMEOUT_MS = 5 * 60_000;
const PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** With the kernel's own file systems, which programs read; no network. */
const INSIDE = 'mount -t proc proc "$0/proc" && mount -t sysfs sysfs "$0/sys" && exec /usr/sbin/chroot "$0" "$@"';

export class CleanRoot implements AsyncDisposable {
  readonly folder: string;
  readonly #runner: CommandRunner;

  private constructor(folder: string, runner: CommandRunner) {
    this.folder = folder;
    this.#runner = runner;
  }

  /**
   * @param folder - is made, and removed at the end
   * @param cacheDir - keeps the Debian from run to run
   */
  static async create(
    folder: string,
    {
      cacheDir,
      runner,
      tell,
    }: { readonly cacheDir: string; readonly runner: CommandRunner; readonly tell: (text: string) => void },
  ): Promise<CleanRoot> {
    const recipe = { suite: SUITE, packages: PACKAGES };
    const key = `clean-root-${createHash("sha256").update(JSON.stringify(recipe)).digest("hex").slice(0, 16)}`;
    const cached = await builtOnce({ cacheDir, key, tell }, (work, made) =>
      bootstrap({ ...recipe, root: path.join(made, "root.tar"), work }, runner),
    );
    await mkdir(folder, { mode: 0o755 });
    const root = new CleanRoot(folder, runner);
    const argv = ["/usr/bin/tar", "-xf", path.join(cached, "root.tar"), "-C", folder, "--numeric-owner"] as const;
    await runner.run({ argv, timeoutMs: INSTALL_TIMEOUT_MS });
    // On a machine that is no image in the making services may be started.
    await rm(path.join(folder, "usr/sbin/policy-rc.d"), { force: true });
    return root;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  at(file: string): string {
    return path.join(this.folder, file);
  }

  /** As root of that system. @param okExitCodes - others are errors that tell what was printed */
  async run(argv: readonly string[], okExitCodes: readonly number[] = [0]): Promise<CommandResult> {
    return await this.#runner.run({
      argv: contained(["/bin/sh", "-c", INSIDE, this.folder, ...argv], { network: "private" }),
      env: { PATH: PATHS, DEBIAN_FRONTEND: "noninteractive", HOME: "/root" },
      okExitCodes,
      timeoutMs: INSTALL_TIMEOUT_MS,
    });
  }

  /** By apt, as an operator does it. */
  async install(files: readonly string[]): Promise<CommandResult> {
    const argv = [
      "/usr/bin/apt-get",
      "install",
      "--yes",
      "--no-install-recommends",
      "--option=Dpkg::Options::=--force-confold",
    ];
    return await this.run([...argv, ...files]);
  }

  /**
   * What the maintainer scripts ask systemd for while `work` is done, as if it ran here: a `systemctl` that only writes
   * down its arguments stands in its place. (apt gives them a fixed PATH, so no other folder would do.)
   */
  async underPretendedSystemd(work: () => Promise<unknown>): Promise<readonly string[]> {
    const [program, real] = [this.at("/usr/bin/systemctl"), this.at("/usr/bin/systemctl.real")];
    const mark = this.at("/run/systemd/system");
    await rename(program, real);
    await writeFile(program, '#!/bin/sh\necho "$*" >>/root/systemctl.log\n', { mode: 0o755 });
    await mkdir(mark, { recursive: true });
    try {
      await work();
    } finally {
      await rename(real, program);
      await rm(mark, { recursive: true });
    }
    const log = await readFile(this.at("/root/systemctl.log"), "utf8").catch(() => "");
    return log.split("\n").filter((line) => line !== "");
  }
}
