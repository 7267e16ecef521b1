/** What a node tells of its external storage providers. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeProviders } from "../../../src/block-devices/ext/provider-facts.ts";

const SCRIPTS = ["create", "remove", "grow", "attach", "detach", "setinfo", "verify"];

let base: string;
beforeAll(async () => {
  base = await mkdtemp(path.join(tmpdir(), "gannet-ext-"));
});
afterAll(() => rm(base, { recursive: true }));

async function provider(folder: string, scripts: readonly string[], parameters: string): Promise<void> {
  await mkdir(path.join(base, folder), { recursive: true });
  for (const script of scripts) await writeFile(path.join(base, folder, script), "#!/bin/sh\n", { mode: 0o755 });
  await writeFile(path.join(base, folder, "parameters.list"), parameters);
}

test("providers are found in order of their names, each with its parameters or its fault", async () => {
  await provider("first/zfs", SCRIPTS, "pool where volumes are made\n\nthin\n");
  await provider("second/zfs", SCRIPTS, "hidden by the one before\n");
  await provider("second/broken", SCRIPTS.slice(1), "");
  await provider("second/.no-provider", SCRIPTS, "");
  await writeFile(path.join(base, "second", "README"), "");
  const searchPath = ["absent", "first", "second"].map((each) => path.join(base, each));
  expect(await describeProviders(searchPath)).toEqual([
    {
      ...{ name: "broken", path: path.join(base, "second/broken"), valid: false, parameters: [] },
      problem: expect.stringContaining("create"),
    },
    {
      ...{ name: "zfs", path: path.join(base, "first/zfs"), valid: true, problem: "" },
      parameters: [
        { name: "pool", help: "where volumes are made" },
        { name: "thin", help: "" },
      ],
    },
  ]);
});
