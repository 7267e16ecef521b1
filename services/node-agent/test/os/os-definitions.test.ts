import { existsSync } from "node:fs";
import {
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import type { GuestDisk } from "@gannet/driver-contract";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createRequest, GUEST, type OsFixture, osFixture, validateRequest } from "./os-fixture.ts";

const { signal } = new AbortController();

let os: OsFixture;
beforeEach(async () => {
  os = await osFixture();
});
afterEach(() => os.close());

const script = (body: string) => `#!/bin/sh\n${body}\n`;
/** A zombie, which an init that does not reap leaves behind, does not run. */
const isRunning = (pid: string) =>
  readFile(`/proc/${pid}/stat`, "utf8").then(
    (text) => !/\) Z /.test(text),
    () => false,
  );
const lastBytes = async (file: string) => {
  await using opened = await open(file);
  const { size } = await opened.stat();
  return (await opened.read({ position: Math.max(0, size - 100), buffer: Buffer.alloc(100) })).buffer;
};
const onlyLog = async () => {
  const [name = "", ...others] = await readdir(os.logFolder);
  expect(others).toEqual([]);
  return path.join(os.logFolder, name);
};

describe("diagnose", () => {
  test("tells what is there, the first folder winning", async () => {
    const valid = {
      ganeti_api_version: "10\n15\n20\n25\n",
      "variants.list": "# comment\n\nbookworm\n  trixie  \n",
      "parameters.list": "dhcp Whether to use DHCP\nfilesystem   Filesystem of the root disk\nplain\n",
    };
    await os.define("debian", valid);
    await os.define("debian", { create: null }, os.second);
    await os.define(
      "old",
      { ganeti_api_version: "10", verify: null, "parameters.list": null, "variants.list": "x" },
      os.second,
    );
    await writeFile(path.join(os.first, "old"), "a stray file does not win over a folder");
    await mkdir(path.join(os.first, ".hidden"));
    expect(await os.definitions().diagnose()).toEqual([
      {
        name: "debian",
        path: path.join(os.first, "debian"),
        valid: true,
        problem: "",
        variants: ["bookworm", "trixie"],
        parameters: [
          { name: "dhcp", help: "Whether to use DHCP" },
          { name: "filesystem", help: "Filesystem of the root disk" },
          { name: "plain", help: "" },
        ],
        apiVersions: [10, 15, 20, 25],
        trusted: true,
      },
      {
        name: "old",
        path: path.join(os.second, "old"),
        valid: true,
        problem: "",
        variants: [],
        parameters: [],
        apiVersions: [10],
        trusted: true,
      },
    ]);
  });

  test.each([
    ["no version", { ganeti_api_version: null }, "file ganeti_api_version is missing"],
    ["an empty version", { ganeti_api_version: "\n" }, "ganeti_api_version is empty"],
    [
      "a version in words",
      { ganeti_api_version: "twenty" },
      'ganeti_api_version holds "twenty", which is no whole number',
    ],
    [
      "an unknown version",
      { ganeti_api_version: "5\n99" },
      "API version 5, 99 is not supported; this node supports 10, 15, 20",
    ],
    ["no create", { create: null }, "it has neither a create nor a create_untrusted script"],
    ["no import", { import: null }, "script import is missing"],
    ["no export", { export: null }, "script export is missing"],
    ["no rename", { rename: null }, "script rename is missing"],
    ["no verify", { verify: null }, "script verify is missing"],
    ["no parameters", { "parameters.list": null }, "file parameters.list is missing"],
    [
      "a parameter with a hostile name",
      { "parameters.list": "A=B help" },
      'parameters.list holds "A=B", which is no parameter name',
    ],
    [
      "a variant that is a path",
      { "variants.list": "../../etc" },
      'variants.list holds "../../etc", which is no variant name',
    ],
    ["a huge list", { "variants.list": "v\n".repeat(100_000) }, "variants.list is larger than 64 KiB"],
  ])("%s makes it invalid, never hidden", async (_what, files, problem) => {
    await os.define("broken", files);
    const [facts] = await os.definitions().diagnose();
    expect(facts).toMatchObject({ name: "broken", valid: false, problem, trusted: false });
    await expect(os.definitions().validate(validateRequest("broken"), signal)).rejects.toThrow(
      new OpPrereqError(`OS broken in ${facts?.path} is not valid: ${problem}`, "environment_error"),
    );
  });

  test("scripts must be executable files", async () => {
    const flat = await os.define("flat");
    await chmod(path.join(flat, "import"), 0o644);
    const folder = await os.define("folder", { export: null });
    await mkdir(path.join(folder, "export"));
    const linked = await os.define("linked", { rename: null });
    await symlink("create", path.join(linked, "rename"));
    const fifo = await os.define("fifo", { "parameters.list": null });
    await createCommandRunner({ logger: silentLogger() }).run({
      argv: ["/usr/bin/mkfifo", path.join(fifo, "parameters.list")],
      timeoutMs: 5_000,
    });
    await writeFile(path.join(os.first, "stray"), "");
    await os.define("a name");
    const problems = (await os.definitions().diagnose()).map(({ name, problem }) => [name, problem]);
    expect(problems).toEqual([
      ["a name", 'its name holds other than letters, digits, ".", "_" and "-"'],
      ["fifo", "parameters.list is not a regular file"],
      ["flat", "import is not executable"],
      ["folder", "export is not a regular file"],
      ["linked", ""],
      ["stray", "it is not a folder"],
    ]);
  });
});

describe("validate", () => {
  const refusal = async (request: Partial<ReturnType<typeof validateRequest>>) => {
    const error = await os
      .definitions()
      .validate({ ...validateRequest("debian"), ...request }, signal)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpPrereqError);
    return error as OpPrereqError;
  };

  test("variants are required where there are some, refused where there are none, and may be forced", async () => {
    await os.define("debian", { "variants.list": "bookworm\ntrixie\n" });
    await os.define("noop");
    const definitions = os.definitions();
    await definitions.validate(validateRequest("debian+trixie"), signal);
    await definitions.validate({ ...validateRequest("debian+sid"), forceVariant: true }, signal);
    await definitions.validate({ ...validateRequest("debian"), forceVariant: true }, signal);
    await definitions.validate({ ...validateRequest("noop+x"), forceVariant: true }, signal);
    const needs = "OS debian needs one of its variants: debian+bookworm, debian+trixie";
    expect(await refusal({ os: "debian" })).toMatchObject({ message: needs, code: "wrong_input" });
    expect(await refusal({ os: "debian+sid" })).toMatchObject({ message: needs, code: "wrong_input" });
    expect(await refusal({ os: "noop+x" })).toMatchObject({ message: "OS noop has no variants; leave +x out" });
  });

  test("an unknown OS is refused with the places that were searched", async () => {
    const error = await refusal({ os: "nowhere" });
    expect(error.message).toContain(`${os.first}, `);
    expect(error.code).toBe("unknown_entity");
  });

  test.each([
    "",
    "..",
    "../debian",
    "/etc",
    "a/b",
    "-rf",
    "a b",
    "a\0b",
    "debian+",
    "debian+../x",
    "debian+a+b",
    "x".repeat(300),
  ])("the name %j is refused before any folder is looked at", async (name) => {
    expect(await refusal({ os: name, forceVariant: true })).toMatchObject({
      message: expect.stringContaining("is not the name of an OS"),
      code: "wrong_input",
    });
  });

  test("parameters must be known, and fit into an environment", async () => {
    await os.define("debian", { "parameters.list": "dhcp x\nkey y\n" });
    await os.define("old", { ganeti_api_version: "15" });
    await os.definitions().validate(validateRequest("debian", { dhcp: "yes" }), signal);
    expect((await refusal({ parameters: { dhcp: "yes", fs: "hunter2" } })).message).toBe(
      'OS debian has no parameter "fs"; it has dhcp, key',
    );
    expect((await refusal({ os: "old", parameters: { dhcp: "yes" } })).message).toMatch(/it has none$/);
    for (const value of ["a\0b", "x".repeat(130_000)]) {
      const { message } = await refusal({ parameters: { key: value } });
      expect(message).toBe("Parameter key of OS debian holds a NUL character or more than 120 KiB");
    }
    await os.definitions().validate(validateRequest("debian", { key: "x".repeat(120_000) }), signal);
  });

  test("the definition's own verify script has the last word, without seeing an instance", async () => {
    const seen = path.join(os.base, "seen");
    await os.define("debian", {
      "parameters.list": "dhcp x\nroot-password y\n",
      verify: script(
        `echo "$@" > ${seen}; pwd >> ${seen}; env >> ${seen}; [ "$OSP_DHCP" = yes ] || { echo "bad dhcp for $OSP_ROOT_PASSWORD" >&2; exit 3; }`,
      ),
    });
    await os.definitions().validate(validateRequest("debian", { dhcp: "yes" }), signal);
    const [args, cwd, ...environment] = (await readFile(seen, "utf8")).trim().split("\n");
    expect([args, cwd]).toEqual(["parameters", path.join(os.first, "debian")]);
    expect(environment.filter((line) => !line.startsWith("PWD=")).sort()).toEqual([
      "DEBUG_LEVEL=0",
      "LC_ALL=C",
      "OSP_DHCP=yes",
      "OS_API_VERSION=20",
      "OS_NAME=debian",
      "OS_VARIANT=",
      "PATH=/sbin:/bin:/usr/sbin:/usr/bin",
    ]);

    const error = await refusal({ parameters: { dhcp: "maybe", "root-password": "hunter2" } });
    expect(error.message).toBe(
      "The verify script of OS debian failed with exit code 3. Its last lines:\nbad dhcp for ***",
    );
    expect(error.code).toBe("wrong_input");
    await rm(seen);
    await os
      .definitions()
      .validate({ ...validateRequest("debian", { dhcp: "maybe" }), runVerifyScript: false }, signal);
    expect(existsSync(seen)).toBe(false);
  });
});

describe("create", () => {
  const failure = async (name: string, changes = {}, abort = signal, options = {}) => {
    const error = await os
      .definitions(options)
      .create(createRequest(name, changes), abort)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpExecError);
    return (error as OpExecError).message;
  };

  test("runs the script in its folder with the documented environment and nothing else", async () => {
    const place = await os.define("debian", {
      "variants.list": "bookworm\n",
      "parameters.list": "root-password x\n",
      create: script("pwd; echo problem >&2; id -u; env; cat"),
    });
    process.env.GANNET_TEST_LEAK = "leak";
    await os.definitions().create(
      createRequest("debian+bookworm", {
        parameters: { "root-password": "a b\nc" },
        reinstall: true,
        debugLevel: 1,
        beparams: { vcpus: 2 },
        secondaryNodes: ["b"],
      }),
      signal,
    );
    const logFile = await onlyLog();
    expect(path.basename(logFile)).toMatch(
      /^add-debian\+bookworm-web1\.example\.com-\d{4}-\d\d-\d\dT\d\d_\d\d_\d\d\.\d{3}\.log$/,
    );
    expect((await stat(logFile)).mode & 0o777).toBe(0o600);
    expect((await stat(os.logFolder)).mode & 0o777).toBe(0o700);
    const [cwd, problem, uid, ...lines] = (await readFile(logFile, "utf8")).trim().split("\n");
    expect([cwd, problem, uid]).toEqual([place, "problem", String(process.getuid?.())]);
    expect(lines.filter((line) => !line.startsWith("PWD=")).sort()).toEqual(
      [
        "DEBUG_LEVEL=1",
        "DISK_COUNT=0",
        "HYPERVISOR=kvm",
        "INSTANCE_BE_vcpus=2",
        "INSTANCE_CTIME=1700000000.25",
        "INSTANCE_MTIME=1700000100.0",
        "INSTANCE_NAME=web1.example.com",
        "INSTANCE_OS=debian+bookworm",
        "INSTANCE_PRIMARY_NODE=11111111-2222-4333-8444-555555555555",
        "INSTANCE_REINSTALL=1",
        "INSTANCE_SECONDARY_NODES=b",
        `INSTANCE_UUID=${GUEST.uuid}`,
        "LC_ALL=C",
        "NIC_COUNT=0",
        "OSP_ROOT_PASSWORD=a b",
        "c",
        "OS_API_VERSION=20",
        "OS_NAME=debian",
        "OS_VARIANT=bookworm",
        "PATH=/sbin:/bin:/usr/sbin:/usr/bin",
      ].sort(),
    );
  });

  test("without a place for its log the script is not run, and the error says why", async () => {
    const ran = path.join(os.first, "ran");
    await os.define("debian", { create: script(`touch ${ran}`) });
    await rm(os.logFolder, { recursive: true, force: true });
    await writeFile(os.logFolder, "");
    expect(await failure("debian")).toMatch(/^No log can be made for the add of web1\.example\.com by OS debian: E/);
    expect(existsSync(ran)).toBe(false);
  });

  test("a script that fails is reported with its code and last lines, without the parameters it printed", async () => {
    await os.define("debian", {
      "parameters.list": "token x\n",
      create: script(
        'i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo "line $i"; done; echo "token $OSP_TOKEN"; exit 7',
      ),
    });
    const message = await failure("debian", { parameters: { token: "hunter2" } });
    const [head, ...lines] = message.split("\n");
    expect(head).toBe(
      `The create script of OS debian failed with exit code 7 (log: ${await onlyLog()}). Its last lines:`,
    );
    expect(lines).toEqual([...Array.from({ length: 19 }, (_, index) => `line ${index + 32}`), "token ***"]);
  });

  const KEY = Array.from({ length: 30 }, (_, index) => `key line ${index}\n`).join("");
  test.each([
    ["of which one begins another", { token: "root", other: "rootS3cret-tail" }, 'echo "$OSP_OTHER"', "***"],
    ["that overlap", { token: "abcdef", other: "defghi" }, "echo abcdefghi", "***"],
    ["of more lines than are shown", { token: KEY }, 'printf %s "$OSP_TOKEN"; echo end', "***end"],
    ["whose own end is trimmed", { token: "hunter2\n" }, 'printf %s "$OSP_TOKEN"', "***"],
    ["of which one line is printed", { token: KEY }, 'echo "$OSP_TOKEN" | sed -n 7p; echo end', "***\nend"],
    ["longer than what is read of the log", { token: "s3cret".repeat(4000) }, 'echo "$OSP_TOKEN end"', "*** end"],
    ["cut within a character", { token: "ü".repeat(9000) }, 'echo "$OSP_TOKEN end."', "*** end."],
  ])("parameters %s stay out of the error", async (_how, parameters, body, told) => {
    const definition = { "parameters.list": "token x\nother y\n", verify: script(`${body}; exit 7`) };
    await os.define("debian", { ...definition, create: script(`${body}; exit 7`) });
    const lastLines = (message: string) => message.slice(message.indexOf("Its last lines:\n") + 16);
    expect(lastLines(await failure("debian", { parameters }))).toBe(told);
    const refused: unknown = await os
      .definitions()
      .validate(validateRequest("debian", parameters), signal)
      .catch((error: unknown) => error);
    expect(lastLines((refused as OpPrereqError).message)).toBe(told);
  });

  test("a script that dies of a signal, or cannot be started, is reported", async () => {
    await os.define("dying", { create: script("kill -SEGV $$") });
    await os.define("nonsense", { create: "#!/no/such/interpreter\n" });
    expect(await failure("dying")).toMatch(
      /create script of OS dying did not run to its end: .* was killed by SIGSEGV/,
    );
    expect(await failure("nonsense")).toMatch(
      /OS nonsense did not run to its end: .* could not be started.*It printed nothing/,
    );
  });

  test.each(["a time limit", "an abort"])(
    "a script that hangs is ended by %s, and its children with it",
    async (how) => {
      const pids = path.join(os.base, "pids");
      const place = await os.define("hanging", {
        create: script(`echo started; sleep 1000 & echo $! > ${pids}; echo $$ >> ${pids}; wait`),
      });
      const abort = new AbortController();
      const running =
        how === "an abort"
          ? failure("hanging", {}, abort.signal)
          : failure("hanging", {}, signal, { scriptTimeoutMs: 700 });
      const started = await vi.waitFor(async () => {
        const found = (await readFile(pids, "utf8")).trim().split("\n");
        expect(found).toHaveLength(2);
        return found;
      });
      if (how === "an abort") abort.abort();
      const message = await running;
      expect(message).toContain(
        `Command ${place}/create ${how === "an abort" ? "was stopped" : "did not end within 0.7 s"}`,
      );
      expect(message).toMatch(/Its last lines:\nstarted$/);
      for (const pid of started) expect(await isRunning(pid)).toBe(false);
    },
  );

  test("a script that prints 10 MB is neither held in memory nor lets the log grow without bound", async () => {
    await os.define("chatty", { create: script("yes 0123456789abcdef | head -c 10000000; echo the end; exit 1") });
    await os.define("endless", { create: script("exec yes 0123456789abcdef") });
    const chatty = await failure("chatty");
    expect(chatty).toMatch(/the end$/);
    expect(chatty.length).toBeLessThan(20_000);
    expect((await stat(await onlyLog())).size).toBe(10_000_008);
    await rm(os.logFolder, { recursive: true });
    const abort = new AbortController();
    const endless = failure("endless", {}, abort.signal);
    await vi.waitFor(async () => expect((await lastBytes(await onlyLog())).toString()).toMatch(/is not kept/), 20_000);
    abort.abort();
    await endless;
    expect((await stat(await onlyLog())).size).toBeLessThan(17 * 1024 * 1024);
  });

  test("a child that outlives the script is not waited for", async () => {
    const pidFile = path.join(os.base, "pid");
    await os.define("leaving", { create: script(`sleep 1000 & echo $! > ${pidFile}`) });
    const startedAt = performance.now();
    await os.definitions().create(createRequest("leaving"), signal);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    process.kill(Number(await readFile(pidFile, "utf8")), "SIGKILL");
  });

  test("an OS that only has an untrusted script is known and not installed on the node", async () => {
    await os.define("untrusted", { create: null, create_untrusted: script("exit 0") });
    expect(await os.definitions().diagnose()).toMatchObject([{ valid: true, trusted: false }]);
    await expect(os.definitions().create(createRequest("untrusted"), signal)).rejects.toThrow(OpPrereqError);
  });

  test("names from elsewhere never become paths", async () => {
    await os.define("noop");
    const guest = { ...GUEST, name: "../../../tmp/x" };
    await expect(os.definitions().create(createRequest("noop", { guest }), signal)).rejects.toThrow(
      "is not the name of an instance",
    );
    await expect(os.definitions().create(createRequest("../noop"), signal)).rejects.toThrow(OpPrereqError);
  });

  test("old logs make room for new ones", async () => {
    await os.define("noop");
    await mkdir(os.logFolder);
    const log = async (name: string, mib: number, ageSeconds: number) => {
      await (await open(path.join(os.logFolder, name), "w")).close();
      await truncate(path.join(os.logFolder, name), mib * 1024 * 1024);
      await utimes(path.join(os.logFolder, name), Date.now() / 1000, Date.now() / 1000 - ageSeconds);
    };
    await log("oldest.log", 1, 300);
    await log("older.log", 200, 200);
    await log("recent.log", 100, 100);
    await os.definitions().create(createRequest("noop"), signal);
    expect(await readdir(os.logFolder)).toEqual([expect.stringMatching(/^add-noop-/), "recent.log"]);
  });
});

describe("rename", () => {
  test("runs the script with both names, and logs it beside the others", async () => {
    await os.define("debian", { rename: script('echo "$OLD_INSTANCE_NAME is $INSTANCE_NAME"; exit "$DISK_COUNT"') });
    await os.definitions().rename(createRequest("debian"), "old.example.com", signal);
    expect(path.basename(await onlyLog())).toMatch(/^rename-debian-web1\.example\.com-/);
    expect(await readFile(await onlyLog(), "utf8")).toBe("old.example.com is web1.example.com\n");
    await expect(os.definitions().rename(createRequest("debian"), "../old", signal)).rejects.toThrow(
      "is not the name of an instance",
    );
  });

  test("a failure names the script and its last lines", async () => {
    await os.define("debian", { rename: script("echo no such filesystem >&2; exit 4") });
    const failing = os.definitions().rename(createRequest("debian"), "old.example.com", signal);
    await expect(failing).rejects.toThrow(OpExecError);
    await expect(failing).rejects.toThrow(/rename script of OS debian failed with exit code 4 .*no such filesystem$/s);
  });
});

describe("import and export commands", () => {
  const device = { path: "/dev/snapshot", kind: "block", format: "raw", uris: { kvm: "rbd:a/b" } } as const;

  test.each([
    ["import", "IMPORT"],
    ["export", "EXPORT"],
  ] as const)("%s is told of the one disk besides everything else", async (name, prefix) => {
    const place = await os.define("debian", { "parameters.list": "token x\n" });
    const request = createRequest("debian", { parameters: { token: "hunter2" } });
    const command = await os.definitions().transferCommand(name, request, { device, index: 2 });
    expect(command).toMatchObject({ argv: [path.join(place, name)], cwd: place, secrets: ["hunter2"] });
    expect(command.env).toMatchObject({
      ...{ INSTANCE_NAME: GUEST.name, OS_NAME: "debian", OSP_TOKEN: "hunter2" },
      ...{ [`${prefix}_DEVICE`]: "/dev/snapshot", [`${prefix}_DISK_PATH`]: "/dev/snapshot" },
      ...{ [`${prefix}_DISK_URI`]: "rbd:a/b", [`${prefix}_INDEX`]: "2" },
    });
  });

  test("a disk without a path is told of by its address alone", async () => {
    await os.define("debian");
    const uris = { kvm: "gluster://host/volume/disk" };
    const disk: GuestDisk = {
      ...{ uuid: "disk-0", index: 0, name: null, access: "rw", sizeMib: 8 },
      ...{ ...device, path: "", uris },
    };
    const request = createRequest("debian", { guest: { ...GUEST, disks: [disk] } });
    const { env } = await os.definitions().transferCommand("export", request, { device: disk, index: 0 });
    expect(env).toMatchObject({ DISK_0_URI: uris.kvm, EXPORT_DISK_URI: uris.kvm });
    for (const name of ["DISK_0_PATH", "EXPORT_DISK_PATH", "EXPORT_DEVICE"]) expect(env).not.toHaveProperty(name);
  });

  test("a definition that is not there or not valid has no scripts", async () => {
    await os.define("debian", { export: null });
    const ask = (name: string) => os.definitions().transferCommand("export", createRequest(name), { device, index: 0 });
    await expect(ask("debian")).rejects.toThrow(/script export is missing/);
    await expect(ask("nowhere")).rejects.toMatchObject({ code: "unknown_entity" });
  });

  test("a parameter that the definition has lost keeps an instance from an installation, not from backup and rename", async () => {
    await os.define("debian");
    const definitions = os.definitions();
    const request = createRequest("debian", { parameters: { lost: "hunter2" } });
    const { env } = await definitions.transferCommand("export", request, { device, index: 0 });
    expect(env).toMatchObject({ OSP_LOST: "hunter2" });
    await definitions.rename(request, "old.example.com", signal);
    await expect(definitions.create(request, signal)).rejects.toThrow(/OS debian has no parameter "lost"/);
    const tooLong = { ...request, parameters: { lost: "x".repeat(130_000) } };
    await expect(definitions.rename(tooLong, "old.example.com", signal)).rejects.toThrow(/more than 120 KiB/);
  });
});
