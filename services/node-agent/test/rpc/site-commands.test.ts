/** What the site's programs are run for, and which are not run, over the agent's real server. */
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { OpExecError, OpPrereqError } from "@gannet/errors";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { PowerCycle } from "../../src/power-cycle.ts";
import { RestrictedCommands } from "../../src/site-commands/restricted-commands.ts";
import {
  createTestCluster,
  OWN_USER,
  runner,
  startTestAgent,
  step,
  type TestAgent,
  type TestCluster,
} from "../agent-fixture.ts";

const REFUSAL_DELAY_MS = 300;

let cluster: TestCluster;
let folder: string;
let commands: string;
let agent: TestAgent;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-site-"));
  commands = path.join(folder, "commands");
  await mkdir(commands, { mode: 0o755 });
  await writeFile(path.join(folder, "trigger"), "");
  agent = await startTestAgent(cluster, {
    leadersFolder: path.join(folder, "leaders"),
    restrictedCommands: restrictedCommands({ enabled: true }),
    powerCycle: new PowerCycle({
      ...{ hypervisors: new Map(), runner, logger: silentLogger() },
      ...{ trigger: path.join(folder, "trigger"), delayMs: 20 },
    }),
  });
});
afterEach(async () => {
  await agent.stop();
  await rm(folder, { recursive: true });
});

function restrictedCommands({ enabled }: { readonly enabled: boolean }): RestrictedCommands {
  return new RestrictedCommands({
    ...{ enabled, folder: commands, runner, logger: silentLogger() },
    ...{ owner: OWN_USER, refusalDelayMs: REFUSAL_DELAY_MS },
  });
}

async function script(file: string, text: string, mode = 0o755): Promise<string> {
  await writeFile(file, `#!/bin/sh\n${text}\n`);
  await chmod(file, mode);
  return file;
}
const failureOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("the out-of-band program", () => {
  const run = (program: string, more: { readonly command?: string; readonly timeoutMs?: number } = {}) =>
    agent.client.node.runOob({
      ...{ step: step(), program, command: "power-status", nodeName: "node7.gannet.test", timeoutMs: 10_000 },
      ...more,
    });

  it("is told the command and the machine, and answers with what it printed", async () => {
    const program = await script(path.join(folder, "oob"), 'echo "{\\"args\\": \\"$*\\"}"');
    expect(await run(program)).toEqual({ output: '{"args": "power-status node7.gannet.test"}\n' });
  });

  it("is run once for a step that is asked for again", async () => {
    const program = await script(path.join(folder, "oob"), `echo run >> ${folder}/runs`);
    const request = { program, command: "power-off", nodeName: "node7.gannet.test", timeoutMs: 10_000 };
    const one = step();
    await agent.client.node.runOob({ ...request, step: one });
    await agent.client.node.runOob({ ...request, step: one });
    expect(await readFile(path.join(folder, "runs"), "utf8")).toBe("run\n");
  });

  it("fails with what it printed, or when it takes too long", async () => {
    const failing = await script(path.join(folder, "failing"), "echo no such machine >&2; exit 3");
    expect(await failureOf(run(failing))).toMatchObject({ message: expect.stringContaining("no such machine") });
    const slow = await script(path.join(folder, "slow"), "sleep 60");
    expect(await failureOf(run(slow, { timeoutMs: 100 }))).toBeInstanceOf(OpExecError);
  });

  it("is not run where others could have written it", async () => {
    const writable = await script(path.join(folder, "writable"), "true", 0o777);
    const plain = await script(path.join(folder, "plain"), "true", 0o644);
    await mkdir(path.join(folder, "open"));
    await chmod(path.join(folder, "open"), 0o777);
    const inOpen = await script(path.join(folder, "open", "oob"), "true");
    for (const program of [writable, plain, inOpen, path.join(folder, "missing"), folder, "relative"])
      expect(await failureOf(run(program)), program).toBeInstanceOf(OpPrereqError);
    expect(await failureOf(run(plain, { command: "rm" }))).toBeInstanceOf(OpPrereqError);
  });
});

describe("restricted commands", () => {
  const run = (command: string) => agent.client.node.runRestrictedCommand({ step: step(), command });

  it("print what they print, without anything of the agent's environment", async () => {
    await script(path.join(commands, "show"), 'echo out; echo err >&2; echo "[$HOME]"');
    expect(await run("show")).toEqual({ output: expect.stringMatching(/^(out\n\[\]\nerr|err\nout\n\[\])\n$/) });
  });

  it("fail with their output", async () => {
    await script(path.join(commands, "broken"), "echo half done; exit 4");
    expect(await failureOf(run("broken"))).toMatchObject({ message: expect.stringMatching(/half done/) });
  });

  it("are refused late and without a reason where they are not root's alone", async () => {
    await script(path.join(commands, "writable"), "true", 0o775);
    await script(path.join(folder, "outside"), "true");
    await symlink(path.join(folder, "outside"), path.join(commands, "link"));
    await script(path.join(commands, "plain"), "true", 0o644);
    for (const command of ["writable", "link", "plain", "missing", "../outside", ".", ""]) {
      const before = performance.now();
      expect(await failureOf(run(command)), command).toMatchObject({
        message: `Executing command '${command}' failed; its node's log tells why`,
      });
      expect(performance.now() - before).toBeGreaterThanOrEqual(REFUSAL_DELAY_MS - 1);
    }
  });

  it("are refused where the folder is writable, and where they are off", async () => {
    await script(path.join(commands, "show"), "true");
    await chmod(commands, 0o777);
    expect(await failureOf(run("show"))).toBeInstanceOf(OpExecError);
    await chmod(commands, 0o755);
    const signal = new AbortController().signal;
    expect(await failureOf(restrictedCommands({ enabled: false }).run("show", signal))).toBeInstanceOf(OpExecError);
  });
});

describe("powercycle", () => {
  it("answers, and then restarts the machine", async () => {
    expect(await agent.client.node.powercycle({ step: step(), hypervisor: "kvm" })).toEqual({
      message: "Reboot scheduled in 0.02 seconds",
    });
    await vi.waitFor(async () => expect(await readFile(path.join(folder, "trigger"), "utf8")).toBe("b"));
  });

  it("lets the hypervisor do it where that is below the kernel", async () => {
    const powercycle = vi.fn(async () => {});
    const hypervisors = new Map([["xen-pvm", { powercycle }]]) as never;
    const parts = { hypervisors, runner, logger: silentLogger(), trigger: path.join(folder, "trigger") };
    new PowerCycle({ ...parts, delayMs: 1 }).schedule("xen-pvm");
    await vi.waitFor(() => expect(powercycle).toHaveBeenCalledOnce());
    expect(await readFile(path.join(folder, "trigger"), "utf8")).toBe("");
  });

  it("is refused where the agent must not", () => {
    const parts = { hypervisors: new Map(), runner, logger: silentLogger(), trigger: undefined };
    expect(() => new PowerCycle(parts).schedule("kvm")).toThrow(OpPrereqError);
  });
});
