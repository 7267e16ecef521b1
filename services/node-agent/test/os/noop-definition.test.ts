import { existsSync } from "node:fs";
import { readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createRequest, type OsFixture, osFixture, validateRequest } from "./os-fixture.ts";

const OURS = path.join(import.meta.dirname, "../../../../deploy/os");
/** Of the package ganeti-os-noop. Where it is not installed, a definition with the same files stands in. */
const DEBIANS = "/usr/share/ganeti/os";
const DEBIANS_FILES = { ganeti_api_version: "5\n10\n", verify: null, "parameters.list": null };

const { signal } = new AbortController();
let os: OsFixture;
beforeEach(async () => {
  os = await osFixture();
});
afterEach(() => os.close());

async function folderOfDebians(): Promise<string> {
  if (existsSync(path.join(DEBIANS, "noop"))) return DEBIANS;
  return path.dirname(await os.define("noop", DEBIANS_FILES));
}

test.each([
  ["ours", async () => OURS, [20]],
  ["Debian's", folderOfDebians, [5, 10]],
])("the noop definition, %s, is valid and installs an instance", async (_whose, folderOf, apiVersions) => {
  const folder = await folderOf();
  const definitions = os.definitions({ searchPath: [folder] });
  expect((await definitions.diagnose()).find(({ name }) => name === "noop")).toEqual({
    name: "noop",
    path: path.join(folder, "noop"),
    valid: true,
    problem: "",
    variants: [],
    parameters: [],
    apiVersions,
    trusted: true,
  });
  await definitions.validate(validateRequest("noop"), signal);
  await definitions.create(createRequest("noop"), signal);
  const [log = ""] = await readdir(os.logFolder);
  expect(await readFile(path.join(os.logFolder, log), "utf8")).toBe("");
});

if (!existsSync(path.join(DEBIANS, "noop"))) console.warn("Not testing Debian's noop: ganeti-os-noop is not installed");
describe.each([
  ["ours", OURS],
  ["Debian's", DEBIANS],
])("the noop definition, %s", (_whose, folder) => {
  test.runIf(existsSync(path.join(folder, "noop")))("copies a disk out and in again", async () => {
    const inBase = (name: string) => path.join(os.base, name);
    const contents = Buffer.from("disk contents".repeat(100_000));
    await writeFile(inBase("source"), contents);
    await writeFile(inBase("target"), "");
    await truncate(inBase("target"), contents.length + 1024);

    const runner = createCommandRunner({ logger: silentLogger() });
    const bash = (text: string, env: Record<string, string>) =>
      runner.run({
        argv: ["/bin/bash", "-c", text, "bash", path.join(folder, "noop")],
        env,
        cwd: os.base,
        timeoutMs: 10_000,
      });
    // Ganeti hands over the size's descriptor by its number, commonly above 9.
    await bash('"$1/export" > dump 11> size', { EXPORT_DEVICE: inBase("source"), EXP_SIZE_FD: "11" });
    await bash('"$1/import" < dump', { IMPORT_DEVICE: inBase("target") });

    expect(Number(await readFile(inBase("size"), "utf8"))).toBe(contents.length);
    const copied = await readFile(inBase("target"));
    expect((await stat(inBase("target"))).size).toBe(contents.length + 1024);
    expect(copied.subarray(0, contents.length).equals(contents)).toBe(true);
  });
});
