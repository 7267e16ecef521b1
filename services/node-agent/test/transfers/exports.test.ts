import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { TransferEnd } from "../../src/transfers/transfers.ts";
import { createRequest, GUEST } from "../os/os-fixture.ts";
import {
  connect,
  diskEnd,
  INSTANCE,
  leftovers,
  outcome,
  request,
  sameContents,
  type TestNode,
  type TransferFixture,
  transferFixture,
} from "./transfer-fixture.ts";

const { signal } = new AbortController();

let nodes: TransferFixture;
const scripts = {
  export:
    '#!/bin/sh\n[ "$OSP_TOKEN" = hunter2 ] || { echo "no, $OSP_TOKEN" >&2; exit 9; }\nstat -c %s "$EXPORT_DEVICE" > /dev/fd/"$EXP_SIZE_FD"\necho "index $EXPORT_INDEX of $INSTANCE_NAME, $OSP_TOKEN" >&2\n[ "$DEBUG_LEVEL" != 9 ] || yes "$(printf %01000d 0)" | head -c 18000000 >&2\ncat "$EXPORT_DEVICE"\n',
  import:
    '#!/bin/sh\n[ "$PWD" = "$(dirname "$0")" ] || exit 8\necho "index $IMPORT_INDEX" >&2\nexec cat > "$IMPORT_DISK_PATH"\n',
};
beforeAll(async () => {
  nodes = await transferFixture();
  const folder = path.join(nodes.osFolder, "scripted");
  await mkdir(folder);
  await writeFile(path.join(folder, "ganeti_api_version"), "20\n");
  await writeFile(path.join(folder, "parameters.list"), "token A secret\n");
  const nothing = "#!/bin/sh\nexit 0\n";
  for (const [name, text] of Object.entries({ create: nothing, rename: nothing, verify: nothing, ...scripts })) {
    await writeFile(path.join(folder, name), text);
    await chmod(path.join(folder, name), 0o755);
  }
});
afterAll(() => nodes.close());
afterEach(async () => {
  expect([...(await leftovers(nodes.source)), ...(await leftovers(nodes.target))]).toEqual([]);
});
const scriptEnd = (file: string, token = "hunter2"): TransferEnd => ({
  ...{ kind: "script", index: 3, disk: { path: file, kind: "file", format: "raw" } },
  request: createRequest("scripted", { guest: { ...GUEST, name: INSTANCE }, parameters: { token } }),
});
const logFolder = (node: TestNode) => path.join(node.stateDir, "os-logs");
/** The only log of that kind; none is left afterwards. */
const takeLog = async (node: TestNode, kind: "import" | "export") => {
  const [name = "", ...others] = (await readdir(logFolder(node))).filter((each) => each.startsWith(kind));
  expect(others).toEqual([]);
  const file = path.join(logFolder(node), name);
  const log = { file, name, text: await readFile(file, "utf8"), mode: (await stat(file)).mode & 0o777 };
  await rm(file);
  return log;
};
const exportFile = (file = "disk-uuid"): TransferEnd => ({ kind: "file", instanceName: INSTANCE, file });
const DESCRIPTION = `[export]\nversion = 0\n\n[instance]\nname = ${INSTANCE}\n`;

test("export script to a file of an export, and from there to an import script", async () => {
  const [from, to] = [await nodes.disk("from", 4), path.join(nodes.base, "imported")];
  const { source, target } = nodes;
  const out = await connect(source, target, { source: scriptEnd(from), target: exportFile() });
  const sent = await outcome(source, out.exportName);
  expect(sent).toMatchObject({ problem: "", transferredMib: 4 });
  expect(sent.recentOutput).toEqual([`script: index 3 of ${INSTANCE}, ***`]);
  expect((await outcome(target, out.importName)).problem).toBe("");
  expect(await takeLog(source, "export")).toMatchObject({
    name: expect.stringMatching(/^export-scripted-web1\.example\.com-disk3-\d{4}-\d\d-\d\dT[\d_.]+\.log$/),
    ...{ text: `index 3 of ${INSTANCE}, hunter2\n`, mode: 0o600 },
  });
  const unfinished = path.join(target.exportDir, `${INSTANCE}.new`);
  expect((await stat(path.join(unfinished, "disk-uuid"))).mode & 0o777).toBe(0o600);
  expect(await target.transfers.listExports()).toEqual([]);

  await target.transfers.finalizeExport(INSTANCE, DESCRIPTION);
  await target.transfers.finalizeExport(INSTANCE, DESCRIPTION);
  expect(await readdir(target.exportDir)).toEqual([INSTANCE]);
  expect(await target.transfers.listExports()).toEqual([INSTANCE]);
  for (const name of [INSTANCE, path.join(target.exportDir, INSTANCE)])
    expect(await target.transfers.exportInfo(name)).toBe(DESCRIPTION);

  const back = await connect(target, source, { source: exportFile(), target: scriptEnd(to) });
  expect(await outcome(target, back.exportName)).toMatchObject({ problem: "", percent: 100 });
  expect((await outcome(source, back.importName)).problem).toBe("");
  expect(await sameContents(from, to)).toBe(true);
  expect((await takeLog(source, "import")).text).toBe("index 3\n");

  await expect(target.transfers.finalizeExport(INSTANCE, "another")).rejects.toThrow(OpExecError);
  await target.transfers.removeExport(INSTANCE, "all");
  await target.transfers.removeExport(INSTANCE, "all");
  expect(await readdir(target.exportDir)).toEqual([]);
});

test("an older export is replaced at once by the newer one, what is unfinished can be removed", async () => {
  const { target, source } = nodes;
  const from = await nodes.disk("from", 1);
  for (const file of ["first", "second"]) {
    const names = await connect(source, target, { source: diskEnd(from, 1), target: exportFile(file) });
    expect((await outcome(target, names.importName)).problem).toBe("");
    await target.transfers.finalizeExport(INSTANCE, `${DESCRIPTION}file = ${file}\n`);
  }
  expect((await readdir(path.join(target.exportDir, INSTANCE))).sort()).toEqual(["config.ini", "second"]);
  const names = await connect(source, target, { source: diskEnd(from, 1), target: exportFile("third") });
  expect((await outcome(target, names.importName)).problem).toBe("");
  await target.transfers.removeExport(INSTANCE, "unfinished");
  expect(await readdir(target.exportDir)).toEqual([INSTANCE]);
  await target.transfers.removeExport(path.join(target.exportDir, INSTANCE), "all");
  expect(await readdir(target.exportDir)).toEqual([]);
});

/** As a finalize that was killed leaves it: the previous export is out of its place. */
async function brokenReplacement(): Promise<void> {
  const at = (name: string) => path.join(nodes.target.exportDir, name);
  await mkdir(at(`.${INSTANCE}.replaced`), { recursive: true });
  await writeFile(path.join(at(`.${INSTANCE}.replaced`), "config.ini"), DESCRIPTION);
  await mkdir(at(`${INSTANCE}.new`));
}

test.each<[string, (transfers: TestNode["transfers"]) => Promise<unknown>]>([
  ["the list", async (transfers) => expect(await transfers.listExports()).toEqual([INSTANCE])],
  ["its description", async (transfers) => expect(await transfers.exportInfo(INSTANCE)).toBe(DESCRIPTION)],
  ["the undo", (transfers) => transfers.removeExport(INSTANCE, "unfinished")],
])("an export whose replacement broke off is back for %s", async (_who, look) => {
  const { transfers, exportDir } = nodes.target;
  await brokenReplacement();
  await look(transfers);
  await transfers.removeExport(INSTANCE, "unfinished");
  expect(await readdir(exportDir)).toEqual([INSTANCE]);
  expect(await readdir(path.join(exportDir, INSTANCE))).toEqual(["config.ini"]);
  await transfers.removeExport(INSTANCE, "all");
  expect(await readdir(exportDir)).toEqual([]);
});

test("a replacement that broke off is gone through with at another attempt", async () => {
  const { transfers, exportDir } = nodes.target;
  const newer = `${DESCRIPTION}newer = 1\n`;
  await brokenReplacement();
  await transfers.finalizeExport(INSTANCE, newer);
  expect(await readdir(exportDir)).toEqual([INSTANCE]);
  // And one that was killed after both were in their places.
  await mkdir(path.join(exportDir, `.${INSTANCE}.replaced`));
  await transfers.finalizeExport(INSTANCE, newer);
  expect(await readdir(exportDir)).toEqual([INSTANCE]);
  expect(await transfers.exportInfo(INSTANCE)).toBe(newer);
  await transfers.removeExport(INSTANCE, "all");
});

test("exports are listed while one is replaced again and again", async () => {
  const { transfers, exportDir } = nodes.target;
  const again = async (round: number) => {
    await mkdir(path.join(exportDir, `${INSTANCE}.new`), { recursive: true });
    await transfers.finalizeExport(INSTANCE, `${DESCRIPTION}round = ${round}\n`);
  };
  await again(0);
  let over = false;
  const replacing = (async () => {
    for (let round = 1; round <= 30; round += 1) await again(round);
  })().finally(() => {
    over = true;
  });
  while (!over) {
    await transfers.listExports();
    expect(await transfers.exportInfo(INSTANCE)).toMatch(/round = /);
  }
  await replacing;
  expect(await transfers.exportInfo(INSTANCE)).toMatch(/round = 30/);
  await transfers.removeExport(INSTANCE, "all");
});

test("a copy that an administrator put aside is an export like others, and stays", async () => {
  const { transfers, exportDir } = nodes.target;
  const aside = `${INSTANCE}.old`;
  for (const name of [INSTANCE, aside]) {
    await mkdir(path.join(exportDir, name), { recursive: true });
    await writeFile(path.join(exportDir, name, "config.ini"), DESCRIPTION);
  }
  await mkdir(path.join(exportDir, `${INSTANCE}.new`));
  await transfers.finalizeExport(INSTANCE, `${DESCRIPTION}newer = 1\n`);
  expect(await transfers.listExports()).toEqual([INSTANCE, aside]);
  expect(await transfers.exportInfo(aside)).toBe(DESCRIPTION);
  await transfers.removeExport(INSTANCE, "all");
  expect(await readdir(exportDir)).toEqual([aside]);
  await transfers.removeExport(aside, "all");
});

test.each([
  ["of one line", "wrong-token", ["script: no, ***"]],
  ["of several lines", "wrong-token\n  second line\nx", ["script: no, ***", "script:   ***", "script: x"]],
  ["longer than what is told", "wrong-token".repeat(9000), ["script: …***"]],
])(
  "a script that fails is the transfer's problem, without the parameter %s it printed",
  async (_how, token, recent) => {
    const [from, to] = [await nodes.disk("from", 1), await nodes.disk("to", 1, "empty")];
    const names = await connect(nodes.source, nodes.target, {
      source: scriptEnd(from, token),
      target: diskEnd(to, 1),
    });
    const { problem, recentOutput } = await outcome(nodes.source, names.exportName);
    expect(problem).toMatch(/scripted\/export failed with exit code 9/);
    expect(problem).not.toMatch(/token|second line/);
    expect(recentOutput.filter((line) => line.startsWith("script: "))).toEqual(recent);
    await outcome(nodes.target, names.importName);
    const { file, text } = await takeLog(nodes.source, "export");
    expect(problem).toContain(`(log: ${file})`);
    expect(text).toContain(token.slice(-100));
  },
);

test("a script that says too much does not let its log grow without bound", async () => {
  const from = await nodes.disk("from", 1);
  const to = await nodes.disk("to", 1, "empty");
  const end = scriptEnd(from);
  const names = await connect(nodes.source, nodes.target, {
    source: end.kind === "script" ? { ...end, request: { ...end.request, debugLevel: 9 } } : end,
    target: diskEnd(to, 1),
  });
  expect((await outcome(nodes.source, names.exportName)).problem).toBe("");
  expect((await outcome(nodes.target, names.importName)).problem).toBe("");
  const { text } = await takeLog(nodes.source, "export");
  expect(text.length).toBeLessThan(16 * 1024 * 1024 + 100);
  expect(text).toMatch(/\n\[output beyond 16777216 bytes is not kept\]\n$/);
});

test.each([
  ["a path", "../escape"],
  ["an option", "-rf"],
  ["the description", "config.ini"],
  ["nothing", ""],
])("a file named as %s is refused", async (_what, file) => {
  const asked = { ...request(exportFile(file)), address: "127.0.0.1" };
  await expect(nodes.target.transfers.startImport(asked, signal)).rejects.toThrow(OpPrereqError);
});

test("exports outside the export folder are neither read nor removed", async () => {
  const { target } = nodes;
  const outside = path.join(nodes.base, "outside");
  await mkdir(path.join(outside, "web9"), { recursive: true });
  await writeFile(path.join(outside, "web9", "config.ini"), DESCRIPTION);
  await mkdir(target.exportDir, { recursive: true });
  await symlink(outside, path.join(target.exportDir, "link"));
  for (const name of [
    path.join(outside, "web9"),
    path.join(target.exportDir, "link", "web9"),
    `${target.exportDir}/../outside/web9`,
    "../outside/web9",
    target.exportDir,
    "/",
  ]) {
    await expect(target.transfers.exportInfo(name)).rejects.toThrow();
    await expect(target.transfers.removeExport(name, "all")).rejects.toThrow();
  }
  expect(await readdir(outside)).toEqual(["web9"]);
  await target.transfers.removeExport(path.join(target.exportDir, "link"), "all");
  expect(await readdir(outside)).toEqual(["web9"]);
  expect(await readdir(target.exportDir)).toEqual([]);
  await expect(target.transfers.exportInfo("web8.example.com")).rejects.toMatchObject({ code: "unknown_entity" });
});
