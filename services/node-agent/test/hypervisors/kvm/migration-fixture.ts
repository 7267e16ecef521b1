/** Nodes between which guests are migrated, and a guest that shows whether it was disturbed. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestSpec, MigrationProgress } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { HYPERVISOR_DEFAULTS, type Parameters } from "@gannet/objects";
import { type CertificateAuthority, createCa, issueCertificate } from "@gannet/pki";
import { silentLogger } from "@gannet/telemetry";
import { buildInitramfs, type StockKernel } from "@gannet/testing";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { bareGuest, eventually, makeTestNode, type TestNode, uuidOf } from "../node-fixture.ts";

export const NEVER = new AbortController().signal;
export const ADDRESS = "127.0.0.1";
export const GREETING = "gannet guest is up";
const runner = createCommandRunner({ logger: silentLogger() });

/** One node with its agent's driver, which can end and start again. */
export interface MigrationNode {
  readonly name: string;
  readonly node: TestNode;
  readonly pkiDir: string;
  driver: KvmHypervisor;
  restart(): Promise<void>;
  /** Files and processes of guests; certificates are no guest's. */
  leftovers(): Promise<readonly string[]>;
}

export async function makeCluster(folder: string): Promise<CertificateAuthority> {
  return createCa({ dir: path.join(folder, "ca") });
}

export function makeFolder(): Promise<string> {
  return mkdtemp(path.join(tmpdir(), "gannet-migration-"));
}

/** @param ca signs the node's certificate */
export async function makeMigrationNode(ca: CertificateAuthority, name: string): Promise<MigrationNode> {
  const pkiDir = await mkdtemp(path.join(tmpdir(), "gannet-pki-"));
  await issueCertificate({ ca, name, sans: [], usage: "node", dir: pkiDir });
  const node = await makeTestNode({ kvmAcceleration: "off", pkiDir });
  const driver = new KvmHypervisor(node.parts);
  await driver.recover();
  const made: MigrationNode = {
    name,
    pkiDir,
    driver,
    node: {
      ...node,
      remove: async () => {
        await node.remove();
        await rm(pkiDir, { recursive: true, force: true });
      },
    },
    async restart() {
      await made.driver.close();
      made.driver = new KvmHypervisor(node.parts);
      await made.driver.recover();
    },
    async leftovers() {
      return [...(await node.files()), ...(await node.processes()).map(({ command }) => command)];
    },
  };
  return made;
}

/** A disk that both nodes see, and a stock kernel that is there on both. */
export async function countingGuest(kernel: StockKernel, folder: string, params: Parameters = {}): Promise<GuestSpec> {
  const initrdFolder = await mkdtemp(path.join(folder, "initrd-"));
  const initrd = await buildInitramfs({ runner, folder: initrdFolder, greeting: GREETING, modules: kernel.modules });
  const disk = path.join(folder, "disk0");
  await writeFile(disk, Buffer.alloc(4 * 1024 * 1024));
  const boot = { kernel_path: kernel.path, initrd_path: initrd, kernel_args: "ro quiet mitigations=off" };
  return {
    ...bareGuest("moving.example", "kvm", {
      ...HYPERVISOR_DEFAULTS.kvm,
      ...boot,
      migration_downtime: 300,
      migration_bandwidth: 1000,
      ...params,
    }),
    maxMemoryMib: 192,
    startMemoryMib: 192,
    vcpus: 1,
    disks: [
      {
        uuid: uuidOf("disk0"),
        index: 0,
        name: null,
        path: disk,
        kind: "file",
        format: "raw",
        access: "rw",
        sizeMib: 4,
      },
    ],
  };
}

/** Prints a number and writes it to its disk, again and again; beside it some memory is always being changed. */
export const COUNT =
  "run busybox dd if=/dev/urandom of=/seed bs=64k count=32 2>/dev/null; " +
  "(while true; do busybox cp /seed /dirt; busybox sleep 0.1; done) & " +
  "i=0; while true; do i=$((i+1)); echo count $i; echo $i >/dev/vda; busybox sleep 0.05; done";

export interface Console extends AsyncDisposable {
  readonly text: () => string;
  say(line: string): void;
  /** qemu serves one client at a time there. */
  close(): void;
  saw(wanted: string | RegExp): Promise<void>;
  /** The numbers counted since the console was opened; the last may be cut off and is left out. */
  counts(): readonly number[];
  /** Waits for the next number. */
  nextCount(): Promise<number>;
}

export async function openConsole(driver: Pick<KvmHypervisor, "console">, guestName: string): Promise<Console> {
  const access = await driver.console(guestName);
  if (access.kind !== "ssh") throw new Error(`the console is of kind ${access.kind}`);
  return openSerial(String(access.command.at(-1)).replace("UNIX-CONNECT:", ""));
}

/** Of a guest that its driver does not show yet. */
export function openSerial(socket: string): Console {
  const connection = createConnection(socket);
  connection.on("error", () => {});
  let text = "";
  connection.on("data", (chunk) => {
    text += chunk;
  });
  const lastWords = () => `the console's last words are ${JSON.stringify(text.slice(-500))}`;
  const counts = () => [...text.matchAll(/count (\d+)\r?\n/g)].map(([, number]) => Number(number));
  return {
    text: () => text,
    say: (line) => void connection.write(`${line}\n`),
    saw: async (wanted) => {
      const isThere = async () => (typeof wanted === "string" ? text.includes(wanted) : wanted.test(text));
      await eventually(isThere, () => `${wanted}; ${lastWords()}`);
    },
    counts,
    nextCount: async () => {
      const before = counts().length;
      return eventually(
        async () => counts()[before],
        () => `another number; ${lastWords()}`,
      );
    },
    close: () => void connection.destroy(),
    async [Symbol.asyncDispose]() {
      connection.destroy();
    },
  };
}

export interface MigrationRun {
  readonly progress: readonly MigrationProgress[];
  readonly port: number;
}

/** The master's steps, up to the end of the sending. */
export async function send(
  guest: GuestSpec,
  from: MigrationNode,
  to: MigrationNode,
  options: {
    readonly live?: boolean;
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: MigrationProgress) => void | Promise<void>;
  } = {},
): Promise<MigrationRun> {
  const info = await from.driver.migrationInfo(guest.name);
  const port = await to.driver.acceptMigration(guest, { info, address: ADDRESS }, NEVER);
  const target = { address: ADDRESS, port, nodeName: to.name };
  const progress: MigrationProgress[] = [];
  const { live = true, signal = NEVER, onProgress } = options;
  for await (const each of from.driver.migrate(guest, target, { live }, signal)) {
    progress.push(each);
    await onProgress?.(each);
  }
  return { progress, port };
}

export async function finish(guest: GuestSpec, from: MigrationNode, to: MigrationNode, succeeded: boolean) {
  await to.driver.finishMigrationTarget(guest, succeeded, NEVER);
  await from.driver.finishMigrationSource(guest.name, succeeded);
}

/** All of it. */
export async function move(
  guest: GuestSpec,
  from: MigrationNode,
  to: MigrationNode,
  options = {},
): Promise<MigrationRun> {
  const run = await send(guest, from, to, options);
  await finish(guest, from, to, run.progress.at(-1)?.status === "completed");
  return run;
}

/** Where the certificates are copied to for a moment. */
export async function certificateCopies({ node }: MigrationNode): Promise<readonly string[]> {
  return readdir(path.join(node.parts.stateDir, "kvm-hypervisor/migration-tls")).catch(() => []);
}
