/** A master's machine below a folder, with its own Redis where the layout has it. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { type EmbeddedRedis, startEmbeddedRedis } from "@gannet/redis";

export const PASSPHRASE = "correct horse battery staple";

/** Text, and mode, of each file beside what Redis keeps. */
export const FILES = {
  [SYSTEM_LAYOUT.usersFile]: ["admin {cleartext}secret write\n", 0o640],
  [path.join(SYSTEM_LAYOUT.caDir, "ca.key")]: ["the authority's key\n", 0o600],
  [path.join(SYSTEM_LAYOUT.masterIdentityDir, "cluster-domain-secret")]: ["domain secret\n", 0o600],
  [path.join(SYSTEM_LAYOUT.redisTlsDir, "key.pem")]: ["redis' key\n", 0o400],
  [path.join(SYSTEM_LAYOUT.nodeIdentityDir, "key.pem")]: ["the node's key\n", 0o600],
} as const satisfies Readonly<Record<string, readonly [text: string, mode: number]>>;

/** Every machine has them. */
export const SYSTEM_FOLDERS = ["/etc", SYSTEM_LAYOUT.dataDir] as const;

export class MasterRoot implements AsyncDisposable {
  readonly root: string;
  readonly passphraseFile: string;
  readonly #base: string;
  #redis: EmbeddedRedis | undefined;

  private constructor(base: string) {
    this.#base = base;
    this.root = path.join(base, "root");
    this.passphraseFile = path.join(base, "passphrase");
  }

  /** An empty machine. */
  static async empty(): Promise<MasterRoot> {
    const machine = new MasterRoot(await mkdtemp(path.join(tmpdir(), "gannet-root-")));
    for (const folder of SYSTEM_FOLDERS) await mkdir(machine.at(folder), { recursive: true });
    await writeFile(machine.passphraseFile, `${PASSPHRASE}\n`);
    return machine;
  }

  /** One with everything but a cluster in its Redis. */
  static async initialised(): Promise<MasterRoot> {
    const machine = await MasterRoot.empty();
    for (const [name, [text, mode]] of Object.entries(FILES)) {
      await mkdir(path.dirname(machine.at(name)), { recursive: true, mode: 0o700 });
      await writeFile(machine.at(name), text);
      await chmod(machine.at(name), mode);
    }
    const { stateDir, identityDir } = {
      stateDir: SYSTEM_LAYOUT.masterStateDir,
      identityDir: SYSTEM_LAYOUT.masterIdentityDir,
    };
    const configuration = { nodeName: "node1.test", redis: `unix:${machine.socket}`, stateDir, identityDir };
    await writeFile(machine.at(SYSTEM_LAYOUT.masterConfigFile), JSON.stringify(configuration));
    await machine.startRedis();
    return machine;
  }

  at(name: string): string {
    return path.join(this.root, name);
  }

  /** A file beside the machine. */
  beside(name: string): string {
    return path.join(this.#base, name);
  }

  get socket(): string {
    return path.join(this.#base, "redis.sock");
  }

  async startRedis(): Promise<EmbeddedRedis["address"]> {
    this.#redis = await startEmbeddedRedis({ directory: this.at(SYSTEM_LAYOUT.redisDir), socketPath: this.socket });
    return this.#redis.address;
  }

  async stopRedis(): Promise<void> {
    await this.#redis?.stop();
    this.#redis = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopRedis();
    await rm(this.#base, { recursive: true, force: true });
  }
}
