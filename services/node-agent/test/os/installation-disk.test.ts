/** The disk by which a machine installs an instance from inside, written and read by the agent and run as images do. */
import { existsSync } from "node:fs";
import { mkdir, readFile, stat, symlink, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestDisk } from "@gannet/driver-contract";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { BUSYBOX } from "@gannet/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createRequest, GUEST, type OsFixture, osFixture } from "./os-fixture.ts";

const RUN = path.resolve(import.meta.dirname, "../../../../deploy/install-image/run");
const SIZE_MIB = 2;
const MIB = 1024 * 1024;
const SECRET = "it's a 'secret'\nof two lines, $HOME `id`";

const runner = createCommandRunner({ logger: silentLogger() });
let os: OsFixture;
let disk: { readonly path: string; readonly sizeMib: number };
beforeEach(async () => {
  os = await osFixture();
  disk = { path: path.join(os.base, "disk"), sizeMib: SIZE_MIB };
  await writeFile(disk.path, "");
  await truncate(disk.path, SIZE_MIB * MIB);
});
afterEach(() => os.close());

const PARAMETERS = { "root-password": SECRET };
const defineUntrusted = (body: string, files = {}) =>
  os.define("inside", {
    ...{ create: null, create_untrusted: `#!/bin/sh\n${body}\n`, "parameters.list": "root-password Of root\n" },
    ...files,
  });
const request = (more = {}) => createRequest("inside", { parameters: PARAMETERS, ...more });
const finish = () => os.definitions().finishInstallation({ os: "inside+x", parameters: PARAMETERS }, disk);

/** What an image's machine does, its disks apart. */
async function runAsImage(shell: readonly [string, ...string[]]): Promise<void> {
  await runner.run({
    argv: [...shell, RUN, disk.path],
    env: { PATH: "/usr/bin:/bin", TMPDIR: os.base, LEAKED: "1" },
    timeoutMs: 30_000,
  });
}

describe.each([
  ["sh", ["/bin/sh"] as const],
  ["busybox", [BUSYBOX, "sh"] as const],
])("an image's script, run by %s,", (_name, shell) => {
  const runs = test.skipIf(!existsSync(shell[0]));

  runs("runs the create script in its folder, with its documented environment only", async () => {
    const seen = path.join(os.base, "seen");
    const folder = await defineUntrusted(
      `printf %s "$OSP_ROOT_PASSWORD" > ${seen}; { cat shared/list; echo "$DISK_0_PATH $DISK_1_PATH $INSTANCE_NAME"; ` +
        `echo "\${LEAKED:-clean} \${DISK_0_URI:-none} $INSTANCE_REINSTALL $LC_ALL"; } > ${seen}.more`,
    );
    await mkdir(path.join(os.base, "elsewhere"));
    await writeFile(path.join(os.base, "elsewhere/list"), "by a link\n");
    await symlink(path.join(os.base, "elsewhere"), path.join(folder, "shared"));
    const one: GuestDisk = {
      ...{ uuid: "11111111-2222-4333-8444-666666666666", index: 0, name: null, path: "/dev/xenvg/one" },
      ...{ kind: "block", format: "raw", access: "rw", sizeMib: 8, uris: { kvm: "rbd:one" }, params: {} },
    };
    const guest = { ...GUEST, disks: [one, { ...one, index: 1 }] };
    await os.definitions().prepareInstallation(request({ guest, reinstall: true }), disk);
    await runAsImage(shell);
    await finish();
    expect(await readFile(seen, "utf8")).toBe(SECRET);
    expect(await readFile(`${seen}.more`, "utf8")).toBe(
      "by a link\n/dev/vdb /dev/vdc web1.example.com\nclean none 1 C\n",
    );
    expect((await stat(disk.path)).size).toBe(SIZE_MIB * MIB);
  });

  runs("tells of a failure, with the end of the output", async () => {
    await defineUntrusted('seq 1 20000; echo "the password is $OSP_ROOT_PASSWORD" >&2; echo no luck; exit 3');
    await os.definitions().prepareInstallation(request(), disk);
    await runAsImage(shell);
    const told = await finish().then(
      () => "",
      (error: Error) => `${error.name}: ${error.message}`,
    );
    expect(told).toMatch(/create_untrusted script of OS inside failed with exit code 3\. Its last lines:/);
    expect(told).toMatch(/20000\nthe password is \*\*\*\nno luck$/);
    expect(told).not.toContain("two lines");
  });
});

test("a machine that ended without a result has failed", async () => {
  await defineUntrusted("exit 0");
  await os.definitions().prepareInstallation(request(), disk);
  await expect(finish()).rejects.toThrow(/ended without telling how the script did/);
});

test.each([
  ["gannet-result 0 0\n", undefined],
  ["gannet-result 1 0\n", /exit code 1\. It printed nothing/],
  ["gannet-result 0\n", /ended without telling/],
  ["gannet-result 1 9999999\nshort", /exit code 1\. Its last lines:\nshort/],
])("of the result %j", async (result, problem) => {
  await writeFile(disk.path, result);
  if (problem === undefined) await finish();
  else await expect(finish()).rejects.toThrow(problem);
});

test.each([
  ["cut by the machine", "secret'\nof two lines, $HOME `id`\nno luck", "***\nno luck"],
  ["of more lines than are shown", `${SECRET}${"\n.".repeat(19)}`, `***${"\n.".repeat(19)}`],
  ["line by line", "+ of two lines, $HOME `id`\n", "+ ***"],
])("a parameter %s stays out of the error", async (_how, printed, told) => {
  await writeFile(disk.path, `gannet-result 1 ${printed.length}\n${printed}`);
  await expect(finish()).rejects.toThrow(
    new OpExecError(`The create_untrusted script of OS inside failed with exit code 1. Its last lines:\n${told}`),
  );
});

test("a definition that does not fit onto the disk is refused, and so is one that links to itself", async () => {
  const folder = await defineUntrusted("exit 0", { large: "x".repeat(SIZE_MIB * MIB) });
  await expect(os.definitions().prepareInstallation(request(), disk)).rejects.toThrow(/do not fit onto the disk/);
  await writeFile(path.join(folder, "large"), "");
  await symlink(folder, path.join(folder, "itself"));
  await expect(os.definitions().prepareInstallation(request(), disk)).rejects.toThrow(OpPrereqError);
  expect((await readFile(disk.path)).every((byte) => byte === 0)).toBe(true);
});

test("names longer than a tar header's field are kept whole", async () => {
  const folder = await defineUntrusted(`find . -name "deep*" > ${os.base}/seen`);
  const deep = path.join(`${"a".repeat(70)}`, "b".repeat(60), `deep${"c".repeat(80)}`);
  await mkdir(path.dirname(path.join(folder, deep)), { recursive: true });
  await writeFile(path.join(folder, deep), "");
  await os.definitions().prepareInstallation(request(), disk);
  await runAsImage(["/bin/sh"]);
  await finish();
  expect(await readFile(`${os.base}/seen`, "utf8")).toBe(`./${deep}\n`);
});

test("a definition with a script that the node runs is not given to a machine", async () => {
  await os.define("trusted");
  await expect(os.definitions().prepareInstallation(createRequest("trusted"), disk)).rejects.toThrow(OpPrereqError);
});
