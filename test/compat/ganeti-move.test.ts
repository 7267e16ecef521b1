/**
 * Ganeti itself at the other end of a move: its tool move-instance between two of our clusters, and its nodes' daemon
 * import-export, with Ganeti's own keys and signatures, where the other cluster would be.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { ONE, told } from "../integration/simulated-instances.ts";
import {
  type Awaited,
  beginImport,
  createSource,
  disksOf,
  exportation,
  from,
  INSTANCE,
  leftovers,
  NAME,
  type Prepared,
  prepared,
  SECRET,
  to,
  useTwoClusters,
} from "../integration/two-clusters.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { type GanetiPrograms, ganetiPrograms, PYTHON } from "./ganeti-programs.ts";

const programs = await ganetiPrograms();

describe.skipIf(programs === undefined)("Ganeti at the other end", () => {
  useTwoClusters();
  const { pythonPath, moveInstance, importExport } = programs as GanetiPrograms;
  const env = { ...process.env, PYTHONPATH: pythonPath };
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gannet-ganeti-"));
    await writeFile(path.join(folder, "secret"), SECRET);
  });
  afterAll(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  /** Ganeti's end, which is told something on its standard input and tells lines of JSON. */
  function ganetiEnd(mode: "prepare" | "receive" | "send", input: unknown, files: readonly string[] = []) {
    const script = path.join(import.meta.dirname, "ganeti_end.py");
    const child = spawn(PYTHON, ["-B", script, mode, folder, importExport, ...files], { env });
    child.stdin.end(JSON.stringify(input));
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    return async <T>(): Promise<T> => {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`Ganeti's end said nothing more: ${errors}`);
      return JSON.parse(value as string) as T;
    };
  }

  const holds = async (file: string, contents: Buffer | undefined) =>
    (await readFile(file)).subarray(0, contents?.length).equals(contents ?? Buffer.alloc(1));

  test("move-instance moves an instance with its contents, and removes it at its source", async () => {
    const contents = await createSource();
    const access = async (side: "src" | "dest", cluster: OneMachineCluster) => {
      const password = path.join(folder, `${side}-password`);
      await writeFile(password, cluster.password);
      return [
        ...[`--${side}-rapi-port=${cluster.port}`, `--${side}-username=${cluster.user}`],
        ...[`--${side}-password-file=${password}`],
        `--${side}-ca-file=${path.join(layoutOf(cluster.stateDir, 1).rapiIdentityDir, "ca.pem")}`,
      ];
    };
    const child = spawn(
      PYTHON,
      [
        ...["-B", moveInstance, "--verbose", "--opportunistic-tries=0", `--dest-primary-node=${ONE}`],
        ...[...(await access("src", from())), ...(await access("dest", to())), "127.0.0.1", "127.0.0.1", NAME],
      ],
      { env },
    );
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    expect(await new Promise((resolve) => child.once("close", resolve)), output).toBe(0);
    expect(output).toMatch(/moved\.gannet\.test: Success/);
    expect((await from().rapi("GET", INSTANCE)).status).toBe(404);
    for (const [index, file] of (await disksOf(to(), NAME)).entries())
      expect(await holds(file, contents[index]), `disk ${index}`).toBe(true);
    await to().succeed("DELETE", INSTANCE);
  });

  test("its import-export daemon takes what we send", async () => {
    const contents = await createSource();
    const prep = await prepared();
    const files = contents.map((_, index) => path.join(folder, `received-${index}`));
    for (const [index, file] of files.entries()) await writeFile(file, Buffer.alloc(contents[index]?.length ?? 0));
    const next = ganetiEnd("receive", prep, files);
    const awaited = await next<Awaited>();
    await from().succeed("PUT", `${INSTANCE}/export`, exportation(prep, awaited, { remove_instance: true }));
    expect(await next()).toEqual(files.map(() => "success"));
    for (const [index, file] of files.entries()) expect(await holds(file, contents[index]), `disk ${index}`).toBe(true);
    expect(await leftovers(from())).toEqual([]);
  });

  test("its import-export daemon sends what we take", async () => {
    const contents = [Buffer.alloc(4 * 1024 * 1024, "sent by Ganeti;"), Buffer.alloc(2 * 1024 * 1024, "the second;")];
    const files = contents.map((_, index) => path.join(folder, `sent-${index}`));
    for (const [index, file] of files.entries()) await writeFile(file, contents[index] ?? "");
    const prep = await ganetiEnd("prepare", null)<Prepared>();
    const { id, awaited } = await beginImport(prep);
    expect(await ganetiEnd("send", awaited, files)()).toEqual(files.map(() => "success"));
    const received = await to().finished(id);
    expect(received, told(received)).toMatchObject({ status: "success" });
    for (const [index, file] of (await disksOf(to(), NAME)).entries())
      expect(await holds(file, contents[index]), `disk ${index}`).toBe(true);
    expect(await leftovers(to())).toEqual([]);
  });
});
