/** An operator's terminal against a real cluster: the program as it is called, its output and its exit codes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCa } from "@gannet/pki";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { runToExitCode } from "../../services/cli/src/run-command-line.ts";
import type { Terminal } from "../../services/cli/src/terminal.ts";
import { type DocumentedProxy, startDocumentedProxy } from "../compat/documented-proxy.ts";
import { OneMachineCluster } from "../one-machine-cluster.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const MAIN = path.resolve(import.meta.dirname, "../../services/cli/src/main.ts");
let cluster: OneMachineCluster;
let proxy: DocumentedProxy;
let home: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  cluster = await OneMachineCluster.start({ nodes: 2 });
  proxy = await startDocumentedProxy(cluster);
  home = await mkdtemp(path.join(tmpdir(), "gnt-home-"));
  env = {
    PATH: process.env.PATH,
    HOME: home,
    GNT_CLUSTER: `https://127.0.0.1:${proxy.port}`,
    GNT_CA: path.join(cluster.stateDir, "rapi/identity/ca.pem"),
    GNT_CREDENTIALS: path.join(cluster.stateDir, "rapi/credentials"),
  };
});
afterAll(async () => {
  const faults = proxy?.faults;
  await proxy?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
  if (home !== undefined) await rm(home, { recursive: true, force: true });
  expect(faults).toEqual(new Set());
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(argv: readonly string[], more: NodeJS.ProcessEnv = {}, main = MAIN) {
  const child = spawn(process.execPath, [main, ...argv], {
    env: { ...env, ...more },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const seen = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    seen.out += chunk;
  });
  child.stderr.on("data", (chunk: Buffer) => {
    seen.err += chunk;
  });
  const ended = once(child, "close").then(([code]): Ended => ({ code: code as number | null, ...seen }));
  return { child, seen, ended };
}

/** As the program does it, in this process: on a machine with little to do, starting it takes longest. */
async function gnt(...argv: readonly string[]): Promise<Ended> {
  return await gntAs(env, ...argv);
}

async function gntAs(as: NodeJS.ProcessEnv & { readonly answer?: string }, ...argv: readonly string[]): Promise<Ended> {
  const seen = { out: "", err: "" };
  const terminal: Terminal = {
    out: (text) => {
      seen.out += `${text}\n`;
    },
    note: (text) => {
      seen.err += `${text}\n`;
    },
    overwrite: () => {},
    isLive: false,
    isInteractive: as.answer !== undefined,
    columns: 80,
    ask: (question) => {
      seen.err += question;
      return Promise.resolve(as.answer ?? "");
    },
    askSecret: () => Promise.reject(new Error("nobody is there")),
  };
  const code = await runToExitCode({ argv, terminal, env: as, signal: new AbortController().signal });
  return { code, ...seen };
}

/** What it prints. @throws Error where it fails */
async function done(...argv: readonly string[]): Promise<string> {
  const { code, out, err } = await gnt(...argv);
  if (code !== 0) throw new Error(`gnt ${argv.join(" ")} ended with ${code}: ${err}`);
  return out;
}

const WEB = "web1.gannet.test";

test("the life of an instance", async () => {
  const add = [
    "instance",
    "add",
    "-t",
    "file",
    "-s",
    "32m",
    "-o",
    "noop",
    "-n",
    "node1.gannet.test",
    "-B",
    "memory=64,vcpus=2",
  ];
  await done(...add, "--tags", "blue", WEB);
  expect(await done("instance", "list", "--no-headers", "-o", "name,status,be/vcpus", "--separator", "|")).toBe(
    `${WEB}|running|2\n`,
  );
  expect(await done("instance", "stop", "--timeout", "3", WEB)).toBe("");
  const stopped = JSON.parse(await done("instance", "list", "--json", "-o", "name,status,be/maxmem", '"blue" in tags'));
  expect(stopped).toEqual([{ name: WEB, status: "ADMIN_down", "be/maxmem": 64 }]);
  expect(await done("instance", "modify", "-B", "memory=128", "--disk", "add:size=16", WEB)).toMatch(
    /be\/maxmem|memory/,
  );
  expect(await done("instance", "list", "--units", "m", "-o", "+disk.sizes", WEB.replace(/\..*/, ""))).toMatch(
    /^Instance .*\nweb1\.gannet\.test .* 32,16\n$/,
  );
  await done("instance", "start", WEB);
  expect(await done("instance", "info", WEB)).toMatch(/^web1\.gannet\.test:\n {2}/);
  expect(
    await done("instance", "list", "-F", 'status == "running" and pnode =* "node1*"', "--no-headers", "-o", "name"),
  ).toBe(`${WEB}\n`);
  expect((await gnt("instance", "list", "-o", "name,nonsense")).code).toBe(14);
});

test("tags of what has tags", async () => {
  await done("instance", "add-tags", WEB, "red", "green");
  await done("tags", "remove", "instance", WEB, "blue");
  expect((await done("instance", "list-tags", WEB)).split("\n").sort()).toEqual(["", "green", "red"]);
  await done("cluster", "add-tags", "green");
  expect((await done("cluster", "search-tags", "^gre")).split("\n").sort()).toEqual([
    "",
    "/cluster                    green",
    `/instances/${WEB} green`,
  ]);
});

describe("jobs", () => {
  test("one that is submitted is watched, and canceled, later", async () => {
    const submitted = await done("debug", "delay", "1", "--submit");
    const id = /^JobID: (\d+)\n$/.exec(submitted)?.[1] ?? "";
    expect((await gnt("job", "watch", id)).err).toMatch(`Job ${id} succeeded`);
    expect(await done("job", "wait", id)).toBe(`${id}: success\n`);
    expect(await done("job", "info", id)).toMatch(/^id: \d+\n(.*\n)*status: success\n/);
    expect((await gnt("job", "cancel", id)).code).toBe(1);
    await done("job", "archive", id);
    expect(await done("job", "list", "--no-headers", "-o", "id")).not.toContain(`\n${id}\n`);
  });

  test("Ctrl-C leaves the job to go on, and says so", async () => {
    const { child, seen, ended } = start(["debug", "delay", "30", "--print-jobid"]);
    await vi.waitFor(() => expect(seen.out).toMatch(/JobID: \d+/), { timeout: 30_000 });
    const id = /\d+/.exec(seen.out)?.[0] ?? "";
    await vi.waitFor(
      async () => expect(await done("job", "list", "--no-headers", "-o", "status", id)).toBe("running\n"),
      {
        timeout: 30_000,
      },
    );
    child.kill("SIGINT");
    const { code, err } = await ended;
    expect([code, err]).toEqual([130, expect.stringContaining(`Job ${id} goes on. To follow: gnt job watch ${id}`)]);
    expect(await done("job", "list", "--no-headers", "-o", "status", id)).toBe("running\n");
  });

  test("one that fails says why, and ends the program with 1", async () => {
    const { code, err } = await gnt("instance", "rename", "--yes", WEB, "web2.gannet.test");
    expect([code, err]).toEqual([1, expect.stringMatching(/Failure: .*\(job \d+\)/)]);
  });

  test("those that a job submits are waited for, too", async () => {
    const { code, err } = await gnt("cluster", "verify-disks");
    expect([code, err]).toEqual([0, expect.stringMatching(/Waiting for job \d+/)]);
  });
});

test("what Ganeti has on its command line only is asked for, too", async () => {
  expect(await done("node", "list-fields", "name", "role")).toMatch(/^Name +Type +Title +Description\nname +text /);
  expect(await done("node", "list-storage", "-t", "file", "--json", "node1")).toContain("node1.gannet.test");
  expect(await done("cluster", "queue", "info")).toContain("drained: no");
  expect((await done("instance", "console", "--show-cmd", WEB)).trim()).not.toBe("");
  expect(await done("node", "add", "node9.gannet.test")).toMatch(
    /^gannet-node join https:\/\/[\w.-]+:\d+ --token \S+\n$/,
  );
  expect(await done("cluster", "getmaster")).toBe("node1.gannet.test\n");
  expect(await done("node", "info", "node1", "node2")).toMatch(
    /name: node1\.gannet\.test\n(.*\n)*name: node2\.gannet\.test/,
  );
  await done("instance", "move", "--yes", WEB, "node2.gannet.test");
  expect(await done("instance", "list", "--no-headers", "-o", "pnode")).toBe("node2.gannet.test\n");
});

describe("refusals", () => {
  test("the wrong password", async () => {
    const wrong = path.join(home, "wrong");
    await writeFile(wrong, "admin nothing\n", { mode: 0o600 });
    const { code, err } = await gntAs({ ...env, GNT_CREDENTIALS: wrong }, "node", "list");
    expect([code, err]).toEqual([4, expect.stringMatching(/^gnt: .*\n$/)]);
  });

  test("an instance that there is not", async () => {
    const { code, err } = await gnt("instance", "list", "nobody");
    expect([code, err]).toEqual([1, expect.stringContaining("Instance 'nobody' not known")]);
    expect((await gnt("node", "info", "nobody")).err).toBe("gnt: There is no node nobody\n");
    expect((await gnt("instance", "start", "nobody")).err).toMatch(/Failure: .*nobody/);
  });

  test("an authority that the certificate is not of", async () => {
    const other = path.join(home, "other.pem");
    await createCa({ dir: path.join(home, "ca") });
    await copyFile(path.join(home, "ca/ca.pem"), other);
    const { code, err } = await gntAs({ ...env, GNT_CA: other }, "node", "list");
    expect([code, err]).toEqual([3, expect.stringContaining("--ca")]);
  });

  test("command lines that make no sense", async () => {
    expect((await gnt("instance", "list", "--colour")).code).toBe(2);
    expect((await gnt("instance", "grow")).code).toBe(2);
    expect((await gnt("flock", "list")).code).toBe(2);
    expect((await gnt("instance", "add", "-s", "much", "web9")).err).toMatch(/^gnt: Parameter 'disks\[0\]\.size' /);
  });
});

test("called for one noun, and completed", async () => {
  const program = path.join(home, "gnt-instance");
  await symlink(MAIN, program);
  // The link leads to the same file: what counts is the name that it was called by.
  const { out } = await start(["list", "--no-headers", "-o", "name"], {}, program).ended;
  expect(out).toBe(`${WEB}\n`);
  expect(await done("complete", "inst")).toBe("instance\n");
  expect(await done("complete", "instance", "st")).toBe("start\nstartup\nstop\n");
  expect(await done("complete", "instance", "info", "w")).toBe(`${WEB}\n`);
  expect(await done("complete", "instance", "add", "--disk-t")).toBe("--disk-template\n");
  expect(await done("complete", "instance", "add", "-t", "pl")).toBe("plain\n");
  const check = spawn("bash", ["-n"], { stdio: ["pipe", "inherit", "inherit"] });
  check.stdin.end(await done("completion", "bash"));
  expect((await once(check, "close"))[0]).toBe(0);
});

test("removal is asked for, or confirmed", async () => {
  const asked = await gnt("instance", "remove", WEB);
  expect([asked.code, asked.err]).toEqual([13, expect.stringContaining("say --yes")]);
  const declined = await gntAs({ ...env, answer: "no" }, "instance", "remove", WEB);
  expect([declined.code, declined.err]).toEqual([13, expect.stringContaining("Nothing was done")]);
  expect((await gntAs({ ...env, answer: "y" }, "instance", "remove", WEB)).code).toBe(0);
  expect(await done("instance", "list", "--no-headers")).toBe("");
});
