/** Copies of the node's key that an agent leaves which is killed while qemu reads them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCa, issueCertificate } from "@gannet/pki";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GuestMonitor } from "../../../src/hypervisors/kvm/guest-monitor.ts";
import { MigrationCredentials } from "../../../src/hypervisors/kvm/migration/credentials.ts";
import { identifyProcess } from "../../../src/hypervisors/process-identity.ts";
import { eventually } from "../node-fixture.ts";

const STRANGER = 65_534;
const isRoot = process.geteuid?.() === 0;
let base: string;
let pkiDir: string;

beforeAll(async () => {
  base = await mkdtemp(path.join(tmpdir(), "gannet-credentials-"));
  pkiDir = path.join(base, "pki");
  const ca = await createCa({ dir: path.join(base, "ca") });
  await issueCertificate({ ca, name: "node1.gannet.test", sans: [], usage: "node", dir: pkiDir });
});
afterAll(() => rm(base, { recursive: true, force: true }));

/** Of the agent whose state folder has this name. */
function credentialsOf(agent: string): MigrationCredentials {
  return new MigrationCredentials({
    pkiDir,
    folder: path.join(base, agent, "migration-tls"),
    chroots: path.join(base, agent, "chroot"),
  });
}

const copies = async () => (await readdir("/run")).filter((entry) => entry.startsWith("gannet-migration-"));
const isThere = (file: string) =>
  access(file).then(
    () => true,
    () => false,
  );

/** Install into a process of that user which never answers. @returns what is in the way of its end */
async function installHalfway(agent: string, uid: number): Promise<Disposable> {
  const child = spawn("/bin/sleep", ["600"], { uid });
  await once(child, "spawn");
  const identity = await identifyProcess(child.pid ?? 0);
  const execute = async ({ name }: { readonly name: string }) => (name === "qom-list" ? [] : new Promise(() => {}));
  const monitor = { process: identity, execute } as unknown as GuestMonitor;
  void credentialsOf(agent).install(monitor, "web1.example", { endpoint: "client", targetName: "node2.gannet.test" });
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

describe("copies that a killed agent left", () => {
  it("are gone with its next start from its own folder", async () => {
    using _ = await installHalfway("one", process.geteuid?.() ?? 0);
    const key = path.join(base, "one/migration-tls/web1.example/client-key.pem");
    await eventually(() => isThere(key));
    await credentialsOf("two").removeLeftovers();
    expect(await isThere(key)).toBe(true);
    await credentialsOf("one").removeLeftovers();
    expect(await isThere(key)).toBe(false);
  });

  it.skipIf(!isRoot)("are gone from where another user's qemu reads them, but those of other agents", async () => {
    const before = new Set(await copies());
    using _ = await installHalfway("one", STRANGER);
    const made = await eventually(async () => (await copies()).find((each) => !before.has(each)));
    await eventually(() => isThere(path.join("/run", made, "client-key.pem")));
    await credentialsOf("two").removeLeftovers();
    expect(await copies()).toContain(made);
    await credentialsOf("one").removeLeftovers();
    expect(await copies()).not.toContain(made);
  });

  it.skipIf(!isRoot)("are gone when nobody knows whose they are and they are old", async () => {
    const [old, young] = [await mkdtemp("/run/gannet-migration-"), await mkdtemp("/run/gannet-migration-")];
    try {
      for (const folder of [old, young]) await writeFile(path.join(folder, "server-key.pem"), "");
      const hourAgo = Date.now() / 1000 - 3600;
      await utimes(old, hourAgo, hourAgo);
      await credentialsOf("one").removeLeftovers();
      expect([await isThere(old), await isThere(young)]).toEqual([false, true]);
    } finally {
      await rm(young, { recursive: true, force: true });
    }
  });

  it("are gone from the root folders of guests, which stay", async () => {
    const root = path.join(base, "one/chroot/web1.example");
    await mkdir(path.join(root, "web1.example"), { recursive: true });
    await writeFile(path.join(root, "web1.example/server-key.pem"), "");
    await credentialsOf("one").removeLeftovers();
    expect(await readdir(root)).toEqual([]);
  });
});
