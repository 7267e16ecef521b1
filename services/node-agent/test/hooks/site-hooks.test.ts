/** A site's hooks, over the agent's real server and with real scripts. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { SiteHooks } from "../../src/hooks/site-hooks.ts";
import { createTestCluster, runner, startTestAgent, step, type TestAgent, type TestCluster } from "../agent-fixture.ts";

let cluster: TestCluster;
let folder: string;
let agent: TestAgent;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-hooks-"));
  const hooks = new SiteHooks({ folder: inside("hooks"), runner });
  agent = await startTestAgent(cluster, { leadersFolder: inside("leaders"), hooks });
});
afterEach(async () => {
  await agent.stop();
  await rm(folder, { recursive: true });
});

const inside = (name: string) => path.join(folder, name);
const ENVIRONMENT = { PATH: "/usr/bin:/bin", GANETI_HOOKS_PATH: "instance-start", GANETI_INSTANCE_NAME: "web 1; ls" };
const run = (changes: { path?: string; phase?: string; environment?: Record<string, string> } = {}, at = step()) =>
  agent.client.node.runHooks({
    ...{ step: at, path: "instance-start", phase: "pre", environment: ENVIRONMENT },
    ...changes,
  });

async function install(place: string, text: string, mode = 0o755): Promise<void> {
  const file = inside(`hooks/${place}`);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\n${text}\n`);
  await chmod(file, mode);
}

it("has none where nobody made a folder for them", async () => {
  expect((await run()).results).toEqual([]);
});

it("runs all of one phase by name, with what they are told and nothing else", async () => {
  await install("instance-start-pre.d/20-second", "env | sort");
  await install("instance-start-pre.d/10-first", "echo said; echo warned >&2");
  await install("instance-start-post.d/30-other", "echo wrong");
  const { results } = await run();
  expect(results.map(({ script, status }) => [script, status])).toEqual([
    ["instance-start-pre.d/10-first", "success"],
    ["instance-start-pre.d/20-second", "success"],
  ]);
  expect(results[0]?.output).toBe("said\nwarned\n");
  const told = (results[1]?.output ?? "").split("\n").filter((line) => !/^(PWD|SHLVL|_|LC_ALL|)=?/.test(line) && line);
  expect(results[1]?.output).toContain("GANETI_INSTANCE_NAME=web 1; ls\n");
  expect(told.every((line) => /^(GANETI_|PATH=)/.test(line))).toBe(true);
});

it("runs those of the watcher's round, whose folder has no phase in its name", async () => {
  await install("watcher/10-daemons", "echo seen to");
  await install("watcher/20-broken", "echo no; exit 1");
  await install("watcher-pre.d/10-other", "echo wrong");
  expect((await run({ path: "watcher", phase: "round" })).results).toEqual([
    { script: "watcher/10-daemons", status: "success", output: "seen to\n" },
    { script: "watcher/20-broken", status: "fail", output: expect.stringContaining("no") },
  ]);
});

it("goes on after one that fails, and skips what is no program or has no proper name", async () => {
  await install("instance-start-pre.d/1-fails", "echo no; exit 3");
  await install("instance-start-pre.d/2-not-executable", "echo ran", 0o644);
  await mkdir(inside("hooks/instance-start-pre.d/3-folder"));
  await install("instance-start-pre.d/4-backup~", "echo ran");
  await install("instance-start-pre.d/.hidden", "echo ran");
  await install("instance-start-pre.d/5-last", "true");
  const { results } = await run();
  expect(results.map(({ script, status }) => [script.split("/")[1], status])).toEqual([
    ["1-fails", "fail"],
    ["2-not-executable", "skip"],
    ["3-folder", "skip"],
    ["5-last", "success"],
  ]);
  expect(results[0]?.output).toMatch(/3.*no/s);
});

it("runs once for one step, whoever asks again", async () => {
  await install("instance-start-post.d/count", `echo x >> ${inside("ran")}`);
  const once = step();
  for (const _ of [1, 2]) expect((await run({ phase: "post" }, once)).results).toHaveLength(1);
  expect(await readFile(inside("ran"), "utf8")).toBe("x\n");
});

it.each([
  ["a path out of the folder", { path: "../../etc" }],
  ["a phase that there is not", { phase: "during" }],
  ["a variable's name with =", { environment: { "A=B": "x" } }],
  ["a value with NUL", { environment: { A: "x\0y" } }],
])("refuses %s", async (_what, changes) => {
  await expect(run(changes)).rejects.toMatchObject({ wireClass: "OpPrereqError" });
});
