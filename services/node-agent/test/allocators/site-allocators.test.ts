/** Allocators of a site, over the agent's real server and with real programs. */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { SiteAllocators } from "../../src/allocators/site-allocators.ts";
import { createTestCluster, runner, startTestAgent, type TestAgent, type TestCluster } from "../agent-fixture.ts";

let cluster: TestCluster;
let folder: string;
let agent: TestAgent;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-allocators-"));
  for (const name of ["local", "system", "state"]) await mkdir(inside(name));
  agent = await startTestAgent(cluster, {
    leadersFolder: inside("leaders"),
    allocators: new SiteAllocators({
      searchPath: [inside("missing"), inside("local"), inside("system")],
      stateDir: inside("state"),
      runner,
    }),
  });
});
afterEach(async () => {
  await agent.stop();
  expect(await readdir(inside("state"))).toEqual([]);
  await rm(folder, { recursive: true });
});

const inside = (name: string) => path.join(folder, name);
const ask = (name: string, input = "{}", options: readonly string[] = []) =>
  agent.client.node.runAllocator({ name, input, arguments: [...options] });

async function install(place: string, text: string): Promise<void> {
  await writeFile(inside(place), `#!/bin/sh\n${text}\n`);
  await chmod(inside(place), 0o755);
}

it("gets its input as a private file, its options after it, and answers what it prints", async () => {
  await install("system/pick", 'stat -c %a "$1"; cat "$1"; shift; printf "|%s" "$@"');
  const { output } = await ask("pick", '{"name":"ä"}', ["--simulate=2:preferred", "--no-headers"]);
  expect(output).toBe('600\n{"name":"ä"}|--simulate=2:preferred|--no-headers');
});

it("is the first of its name in the folders, whole however long its input is", async () => {
  await install("local/pick", 'wc -c < "$1"');
  await install("system/pick", "echo other");
  const input = "x".repeat(6 * 1024 * 1024);
  expect((await ask("pick", input)).output.trim()).toBe(String(input.length));
});

it("that fails is an error with what it said", async () => {
  await install("local/broken", "echo no memory anywhere >&2; exit 3");
  await expect(ask("broken")).rejects.toMatchObject({
    wireClass: "OpExecError",
    message: expect.stringMatching(/broken failed.*3.*no memory anywhere/s),
  });
});

it.each(["../system/pick", "/bin/sh", "-x", "", ".hidden", "a b"])("named %o is refused", async (name) => {
  await install("system/pick", `echo ran > ${inside("ran")}`);
  await expect(ask(name)).rejects.toMatchObject({ wireClass: "OpPrereqError" });
  await expect(readFile(inside("ran"))).rejects.toMatchObject({ code: "ENOENT" });
});

it("that is not installed, or is no program, is not known", async () => {
  await writeFile(inside("local/text"), "text", { mode: 0o644 });
  for (const name of ["none", "text"]) {
    await expect(ask(name)).rejects.toMatchObject({ wireClass: "OpPrereqError", code: "unknown_entity" });
  }
});

it("takes nothing for an option that is none", async () => {
  await install("local/pick", "echo ran");
  for (const option of ["/etc/passwd", "-v", "--", "x"])
    await expect(ask("pick", "{}", [option])).rejects.toMatchObject({ wireClass: "OpPrereqError" });
});
