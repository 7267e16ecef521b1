/**
 * The certificates with which a migration's two qemus know each other: their nodes' own. Each end accepts only the
 * other it was told of: the source by the target's name, the target by the source's.
 */
import { X509Certificate } from "node:crypto";
import { chown, copyFile, lstat, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { allEnded, HypervisorError } from "@gannet/errors";
import { IDENTITY_FILES } from "@gannet/pki";
import { undefinedWhenMissing } from "../../../errno.ts";
import { REVOCATION_LIST_FILE } from "../../../identity/node-identity.ts";
import { shortHash } from "../../file-stem.ts";
import type { GuestMonitor } from "../guest-monitor.ts";
import { makePrivateFolder } from "../private-folder.ts";
import { qemuUid } from "../qemu-process.ts";
import { DH_PARAMETERS } from "./dh-parameters.ts";

export type MigrationEnd =
  | { readonly endpoint: "client"; readonly targetName: string }
  /** `sender` as in the migration's info. */
  | { readonly endpoint: "server"; readonly sender: readonly string[] };

const CREDENTIALS = "migration-tls";
const AUTHORIZATION = "migration-authz";
/** Where another user's qemu gets at them: it cannot get at what is below the agent's own folder. */
const PLACE_FOR_OTHERS = "/run";
const NAME_FOR_OTHERS = "gannet-migration-";
/** qemu answers in seconds whether it has read them; what is older nobody waits for, whose agent's it may be. */
const SURELY_LEFT_MS = 10 * 60_000;

export class MigrationCredentials {
  readonly #pkiDir: string | undefined;
  readonly #folder: string;
  readonly #chroots: string;
  /** Tells this agent's copies from those of others on the machine. */
  readonly #nameForOthers: string;

  /**
   * @param pkiDir holds the node's ca.pem, cert.pem and key.pem (libs/pki)
   * @param folder where copies of them may be for a moment, the driver's own
   * @param chroots holds the root folders of guests that have one
   */
  constructor(parts: { readonly pkiDir: string | undefined; readonly folder: string; readonly chroots: string }) {
    this.#pkiDir = parts.pkiDir;
    this.#folder = parts.folder;
    this.#chroots = parts.chroots;
    this.#nameForOthers = `${NAME_FOR_OTHERS}${shortHash(parts.folder)}-`;
  }

  /**
   * Copies that a killed agent left, wherever and however far it had come with them. No migration needs them: a qemu
   * reads them when it is told of them, and nobody is left to tell it.
   */
  async removeLeftovers(): Promise<void> {
    const inChroots = (await entriesOf(this.#chroots)).map((stem) => path.join(this.#chroots, stem, stem));
    const forOthers = (await entriesOf(PLACE_FOR_OTHERS))
      .filter((entry) => entry.startsWith(NAME_FOR_OTHERS))
      .map((entry) => path.join(PLACE_FOR_OTHERS, entry));
    const left: string[] = [];
    for (const folder of forOthers)
      if (path.basename(folder).startsWith(this.#nameForOthers) || (await isOld(folder))) left.push(folder);
    for (const folder of [this.#folder, ...inChroots, ...left]) await rm(folder, { recursive: true, force: true });
  }

  /** The parts of the name in this node's certificate, as `OU=…` and `CN=…`. @throws HypervisorError */
  async sender(): Promise<readonly string[]> {
    const file = path.join(this.#required(), IDENTITY_FILES.cert);
    return new X509Certificate(await readFile(file)).subject.split("\n");
  }

  /**
   * Give a qemu this node's certificate and key, and tell it whom to trust. It reads the files at once, so they are
   * there for that moment only.
   * @throws HypervisorError, also when qemu has no TLS: a guest's memory is not sent in the clear
   */
  async install(monitor: GuestMonitor, stem: string, end: MigrationEnd): Promise<void> {
    await this.remove(monitor);
    const uid = await qemuUid(monitor.process);
    const { outside, inside } = await this.#folderFor(monitor, stem, uid);
    try {
      await this.#copyTo(outside, end.endpoint, uid);
      const credentials = {
        "qom-type": "tls-creds-x509",
        id: CREDENTIALS,
        dir: inside,
        endpoint: end.endpoint,
        "verify-peer": true,
      } as const;
      // Each after the one before it, in one go.
      const calls: Promise<unknown>[] = [monitor.execute({ name: "object-add", arguments: credentials })];
      if (end.endpoint === "server")
        calls.push(monitor.execute({ name: "object-add", arguments: authorizationOf(end.sender) }));
      const peer = end.endpoint === "client" ? { "tls-hostname": end.targetName } : { "tls-authz": AUTHORIZATION };
      const parameters = { "tls-creds": CREDENTIALS, ...peer };
      calls.push(monitor.execute({ name: "migrate-set-parameters", arguments: parameters }));
      await allEnded(calls);
    } finally {
      await rm(outside, { recursive: true, force: true });
    }
  }

  /** A qemu that has none is left as it is. */
  async remove(monitor: GuestMonitor): Promise<void> {
    const objects = (await monitor.execute({ name: "qom-list", arguments: { path: "/objects" } })).map(
      ({ name }) => name,
    );
    const present = [CREDENTIALS, AUTHORIZATION].filter((id) => objects.includes(id));
    if (present.length === 0) return;
    await monitor.execute({
      name: "migrate-set-parameters",
      arguments: { "tls-creds": "", "tls-hostname": "", "tls-authz": "" },
    });
    for (const id of present) await monitor.execute({ name: "object-del", arguments: { id } });
  }

  #required(): string {
    if (this.#pkiDir !== undefined) return this.#pkiDir;
    throw new HypervisorError("Guests cannot be migrated: the agent was not told where this node's certificate is");
  }

  /** A new folder of mode 0700, as the agent and as qemu see it. */
  async #folderFor(monitor: GuestMonitor, stem: string, uid: number): Promise<{ outside: string; inside: string }> {
    const root = await readlink(`/proc/${monitor.process.pid}/root`).catch(() => "/");
    const inChroot = root !== "/";
    if (!inChroot && !isOwn(uid)) {
      const folder = await mkdtemp(path.join(PLACE_FOR_OTHERS, this.#nameForOthers));
      return { outside: folder, inside: folder };
    }
    const outside = path.join(inChroot ? root : this.#folder, stem);
    await rm(outside, { recursive: true, force: true });
    await makePrivateFolder(outside);
    return { outside, inside: inChroot ? `/${stem}` : outside };
  }

  async #copyTo(folder: string, endpoint: "client" | "server", uid: number): Promise<void> {
    const pkiDir = this.#required();
    // Named as qemu wants them (qemu(1), tls-creds-x509).
    const names = { ca: "ca-cert.pem", cert: `${endpoint}-cert.pem`, key: `${endpoint}-key.pem` } as const;
    for (const part of ["ca", "cert", "key"] as const) {
      const copy = path.join(folder, names[part]);
      await copyFile(path.join(pkiDir, IDENTITY_FILES[part]), copy);
      if (!isOwn(uid)) await chown(copy, uid, -1);
    }
    // Read by the end that listens; the other one only goes by the name of the target (qemu 7.2).
    const revocations = await readFile(path.join(pkiDir, REVOCATION_LIST_FILE)).catch(undefinedWhenMissing);
    if (revocations !== undefined) await writeFile(path.join(folder, "ca-crl.pem"), revocations, { mode: 0o644 });
    if (endpoint === "server") await writeFile(path.join(folder, "dh-params.pem"), DH_PARAMETERS);
    if (!isOwn(uid)) await chown(folder, uid, -1);
  }
}

/** qemu gives a name's parts in the certificate's order or in the reverse one, by the version of its TLS library. */
function authorizationOf(sender: readonly string[]) {
  const names = [sender.join(","), sender.toReversed().join(",")];
  return {
    "qom-type": "authz-list",
    id: AUTHORIZATION,
    policy: "deny",
    rules: names.map((match) => ({ match, policy: "allow", format: "exact" })),
  } as const;
}

/** Left before copies were told apart by their agents, or by an agent that is no longer on this machine. */
async function isOld(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(undefinedWhenMissing);
  return found !== undefined && Date.now() - found.mtimeMs > SURELY_LEFT_MS;
}

async function entriesOf(folder: string): Promise<readonly string[]> {
  return (await readdir(folder).catch(undefinedWhenMissing)) ?? [];
}

function isOwn(uid: number): boolean {
  return uid === process.geteuid?.();
}
