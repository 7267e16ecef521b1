/** An operator's terminal against a real cluster: the program as it is called, its output and its exit codes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createCa } from "@gannet/pki";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { connect } from "../../services/cli/src/connection/cluster-choice.ts";
import { runToExitCode } from "../../services/cli/src/run-command-line.ts";
import { processTerminal, type Terminal } from "../../services/cli/src/terminal.ts";
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

  test("those that have not begun are canceled together", async () => {
    const submitted = async (...more: readonly string[]) =>
      /\d+/.exec(await done("debug", "delay", "20", "--submit", ...more))?.[0] ?? "";
    const statuses = (...ids: readonly string[]) => done("job", "list", "--no-headers", "-o", "status", ...ids);
    const running = await submitted();
    await vi.waitFor(async () => expect(await statuses(running)).toBe("running\n"), { timeout: 30_000 });
    const pending = [await submitted("--depend", running), await submitted("--depend", running)];
    expect((await gnt("job", "cancel")).code).toBe(2);
    expect((await gnt("job", "cancel", "--pending", running)).code).toBe(2);
    expect(await gnt("job", "cancel", "--pending")).toMatchObject({
      ...{ code: 13, err: expect.stringContaining(`Cancel the jobs ${pending.join(", ")}?`) },
    });
    await done("job", "cancel", "--pending", "--yes");
    expect(await statuses(...pending)).toBe("canceled\ncanceled\n");
    expect(await statuses(running)).toBe("running\n");
    expect(await gnt("job", "cancel", "--queued")).toMatchObject({ code: 0, err: "No job is queued\n" });
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

describe("all of a node's instances", () => {
  const SHARED = "shared1.gannet.test";
  const shownOf = async (fields: string) =>
    (await done("instance", "list", "--no-headers", "--separator", "|", "-o", fields, SHARED)).trim();
  beforeAll(async () => {
    const disk = ["-t", "sharedfile", "-s", "16m", "-o", "noop", "-B", "memory=64"];
    await done("instance", "add", ...disk, "-n", "node2.gannet.test", SHARED);
  });
  afterAll(() => done("instance", "remove", "--yes", SHARED));

  test("are failed over together", async () => {
    const asked = await gnt("node", "failover", "node2.gannet.test");
    expect([asked.code, asked.err]).toEqual([13, expect.stringContaining(`Stop ${SHARED} and start them`)]);
    await done("node", "failover", "--yes", "-n", "node1.gannet.test", "node2.gannet.test");
    expect(await shownOf("pnode,status")).toBe("node1.gannet.test|running");
    expect((await gnt("node", "failover", "--yes", "node2.gannet.test")).err).toContain("No instance has");
    expect((await gnt("node", "failover", "--yes", "node7")).code).toBe(1);
    await done("instance", "failover", "--yes", "-n", "node2.gannet.test", SHARED);
  });

  // The agent runs out-of-band programs of root's only.
  test.skipIf(process.getuid?.() !== 0)("are stopped before an emergency power-off, and started after it", async () => {
    const program = path.join(cluster.stateDir, "oob");
    await writeFile(program, '#!/bin/sh\n[ ! -e "$0.broken" ] || exit 1\necho "$1 $2" >> "$0.log"\n', { mode: 0o755 });
    await done("node", "modify", "--node-parameters", `oob_program=${program}`, "node2.gannet.test");
    const power = () => done("node", "list", "--no-headers", "-o", "powered", "node2");
    expect(await gnt("cluster", "epo", "--yes", "node1")).toMatchObject({
      ...{ code: 2, err: expect.stringContaining("is the master") },
    });
    expect((await gnt("cluster", "epo", "--yes")).code).toBe(2);
    expect((await gnt("cluster", "epo", "node2")).code).toBe(13);
    expect(await shownOf("status")).toBe("running");

    expect(await gnt("cluster", "epo", "--yes", "node2")).toMatchObject({ code: 0 });
    expect(await shownOf("oper_state,admin_state")).toBe("N|up");
    expect(await power()).toBe("N\n");
    expect(await done("cluster", "watcher", "info")).toMatch(/paused_until: \d/);

    await writeFile(`${program}.broken`, "");
    expect(await gnt("cluster", "epo", "--on", "node2")).toMatchObject({
      ...{ code: 1, err: expect.stringContaining("node2.gannet.test could not be powered on") },
    });
    await rm(`${program}.broken`);
    expect(await gnt("cluster", "epo", "--on", "node2")).toMatchObject({ code: 0 });
    expect(await shownOf("status")).toBe("running");
    expect(await power()).toBe("Y\n");
    expect(await readFile(`${program}.log`, "utf8")).toBe("power-off node2.gannet.test\npower-on node2.gannet.test\n");
    expect(await done("cluster", "watcher", "info")).toMatch(/paused_until: -/);
  });
});

test("operating systems are told of, and what their instances have by default is changed", async () => {
  expect(await done("os", "info", "noop")).toMatch(/^noop:\n(.*\n)* {2}valid: yes\n/);
  expect((await gnt("os", "info", "nothing")).code).toBe(1);
  await done("os", "modify", "-H", "fake:migration_mode=live", "--hidden", "yes", "noop");
  const { os_hvp, hidden_os } = JSON.parse(await done("cluster", "info", "--json")) as Record<string, unknown>;
  expect({ os_hvp, hidden_os }).toEqual({
    os_hvp: { noop: { fake: { migration_mode: "live" } } },
    hidden_os: ["noop"],
  });
  await done("os", "modify", "--hidden", "no", "noop");
  expect((await gnt("os", "modify", "-H", "migration_mode=live", "noop")).code).toBe(2);
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

test("root on a master's machine need not say which cluster, nor who asks", async () => {
  const configuration = path.join(cluster.stateDir, "master/master.json");
  const { caDir } = JSON.parse(await readFile(configuration, "utf8")) as { readonly caDir: string };
  const credentials = env.GNT_CREDENTIALS ?? "";
  const places = { configuration, authority: path.join(caDir, "ca.pem"), credentials };
  const { client: opened, url } = await connect({}, { HOME: home }, processTerminal(), places);
  using client = opened;
  expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect((await client.get("/2/info")).master).toBe("node1.gannet.test");
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
