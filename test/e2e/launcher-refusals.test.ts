/** What `make` tells without being asked for anything, and what `make run` refuses before it starts anything. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bridgeName } from "../../deploy/one-machine/guest-network.ts";
import { type Ended, endOf, launch, ROOT } from "./launcher.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-refused-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("plain make prints every target, each with a line of its own", async () => {
  const { code, output } = await endOf(execFile("/usr/bin/make", ["--no-print-directory"], { cwd: ROOT }));
  expect(code).toBe(0);
  const makefile = readFileSync(path.join(ROOT, "Makefile"), "utf8");
  const targets = [...makefile.matchAll(/^([a-z]+):.*## (.+)$/gm)].map(([, target, text]) => [target, text]);
  expect(targets.map(([target]) => target)).toEqual(
    expect.arrayContaining(["setup", "run", "test", "check", "bench", "lab"]),
  );
  for (const [target, text] of targets)
    expect(output).toMatch(new RegExp(`^ *make ${target} +${text?.replaceAll(/[^\w ]/g, ".")}$`, "m"));
});

test.each<[string, Record<string, string>]>([
  ["GANNET_RAPI_PORT", { GANNET_RAPI_PORT: "65536" }],
  ["GANNET_NODES", { GANNET_NODES: "three" }],
  ["GANNET_HYPERVISORS", { GANNET_HYPERVISORS: "fake,vmware" }],
  ["GANNET_HYPERVISORS (of a kind that one machine cannot try out)", { GANNET_HYPERVISORS: "fake,xen-pvm" }],
  ["GANNET_LOG_FORMAT", { GANNET_LOG_FORMAT: "xml" }],
  ["GANNET_WATCHER", { GANNET_WATCHER: "maybe" }],
])("a wrong %s ends with exit code 2 and one line that names it", async (name, environment) => {
  const stateDir = path.join(folder, name);
  const { code, output }: Ended = await endOf(launch({ GANNET_STATE_DIR: stateDir, ...environment }));
  expect(code).toBe(2);
  expect(output).toContain(name.split(" ")[0]);
  expect(output).toContain(Object.values(environment)[0]?.split(",").at(-1));
  expect(output.trim().split("\n")).toHaveLength(1);
  expect(existsSync(stateDir)).toBe(false);
});

test("a state directory whose path is too long for sockets is refused and leaves no bridge", async () => {
  const stateDir = path.join(folder, "x".repeat(100));
  const { code, output } = await endOf(launch({ GANNET_STATE_DIR: stateDir, GANNET_LOG_FORMAT: "json" }));
  expect(code).toBe(2);
  expect(output).toContain("choose a shorter state directory");
  expect(existsSync(`/sys/class/net/${bridgeName(stateDir)}`)).toBe(false);
});

test("a port of the remote API that is taken is refused", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const stateDir = path.join(folder, "taken");
  const { code, output } = await endOf(
    launch({
      GANNET_STATE_DIR: stateDir,
      GANNET_RAPI_PORT: String(port),
      GANNET_NODES: "1",
      GANNET_HYPERVISORS: "fake",
    }),
  );
  other.close();
  expect(code).toBe(2);
  expect(output).toContain(`127.0.0.1:${port}`);
  expect(output).not.toMatch(/^ +at /m);
}, 120_000);
