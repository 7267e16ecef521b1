/** Xen's drivers when things go wrong, and what they do beyond starting and stopping. */
import { chmod, mkdir, readdir, readFile, readlink, rm, utimes, writeFile } from "node:fs/promises";
import { totalmem } from "node:os";
import path from "node:path";
import { HypervisorError } from "@gannet/errors";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { clearFault, setFault, type ToolFault } from "../../../../../test/simulated-tools/faults.ts";
import { endGuest, restartGuest, withXen } from "../../../../../test/simulated-tools/xen/state.ts";
import { toolstackAtFirst, toolstackFor } from "../../../src/hypervisors/xen/toolstack-choice.ts";
import type { XenHypervisor } from "../../../src/hypervisors/xen/xen-hypervisor.ts";
import { xenOptions } from "../../../src/hypervisors/xen/xen-options.ts";
import { NodeFacts } from "../../../src/node-facts/node-facts.ts";
import { eventually } from "../node-fixture.ts";
import { makeXenNode, type XenNode } from "./xen-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;
const SOFT = { force: false, timeoutMs: 400 } as const;
const NAME = "web1.example";

let xen: XenNode;
let driver: XenHypervisor;

beforeEach(async () => {
  xen = await makeXenNode();
  driver = xen.driver("xen-pvm");
  await driver.recover();
});
afterEach(async () => {
  await driver.close();
  await xen.node.remove();
});

const guest = (name = NAME) => xen.guest("xen-pvm", name);
const fault = (command: string, what: ToolFault) => setFault(xen.folder, `xl-${command}`, what);
const repair = (command: string) => clearFault(xen.folder, `xl-${command}`);
const domains = () => withXen(xen.folder, (state) => state.domains.map(({ name }) => name));

const tool = (name: "xl" | "xm") => xen.node.parts.options.xen?.toolstackPaths[name];

async function nextAgent(): Promise<XenHypervisor> {
  await driver.close();
  driver = xen.driver("xen-pvm");
  await driver.recover();
  return driver;
}

describe("a start", () => {
  it("that fails tells what its device model printed in it, and not what it printed before", async () => {
    const logFolder = path.join(xen.node.parts.stateDir, "xen-logs");
    await mkdir(logFolder);
    const log = path.join(logFolder, `qemu-dm-${NAME}.log`);
    await writeFile(log, "the cipher is missing\n");
    const hence = new Date(Date.now() + 60_000);
    await utimes(log, hence, hence);
    fault("create", { answer: { exitCode: 3, stderr: "device model did not start\n" } });
    await expect(driver.start(guest(), RUNNING, NEVER)).rejects.toThrow(
      /device model did not start.*Its device model printed: the cipher is missing$/s,
    );
    await utimes(log, 1, 1);
    await expect(driver.start(guest(), RUNNING, NEVER)).rejects.toThrow(/device model did not start$/);
  });

  it.each<[string, ToolFault, RegExp]>([
    ["that Xen refuses", { answer: { exitCode: 3, stderr: "no luck\n" } }, /could not start web1.example: .*no luck/],
    ["that ends well without a domain", { answer: { exitCode: 0 } }, /said that it started web1.example, but does not/],
    ["that fails when it is done", { when: "after", answer: { exitCode: 1 } }, /could not start/],
  ])("%s leaves nothing", async (_what, what, message) => {
    fault("create", what);
    await expect(driver.start(guest(), RUNNING, NEVER)).rejects.toThrow(message);
    await expect(driver.start(guest(), RUNNING, NEVER)).rejects.toThrow(HypervisorError);
    expect(await xen.leftovers()).toEqual([]);
    expect(await driver.list()).toEqual([]);
    repair("create");
    expect(await driver.start(guest(), RUNNING, NEVER)).toMatchObject({ status: "running" });
  });

  it("that hangs can be aborted, and leaves nothing, done or not", async () => {
    fault("create", { when: "after", hang: true });
    const abort = new AbortController();
    const starting = driver.start(guest(), RUNNING, abort.signal);
    starting.catch(() => {});
    await eventually(async () => (await domains()).length > 0);
    abort.abort();
    await expect(starting).rejects.toThrow(HypervisorError);
    expect(await xen.leftovers()).toEqual([]);
  });

  it("that an agent did not live to end is taken back by the next", async () => {
    fault("create", { when: "after", hang: true });
    const abort = new AbortController();
    const starting = driver.start(guest(), RUNNING, abort.signal);
    starting.catch(() => {});
    await eventually(async () => (await domains()).length > 0);
    const next = await nextAgent();
    expect(await xen.leftovers()).toEqual([]);
    expect(await next.state(NAME)).toBeUndefined();
    abort.abort();
    await expect(starting).rejects.toThrow();
  });

  it("does not touch a domain of the name that is not known, which a stop removes", async () => {
    await driver.start({ ...guest(), uuid: "ffffffff-0000-4000-8000-000000000000" }, RUNNING, NEVER);
    const others = xen.driver("xen-hvm");
    await expect(others.start(xen.guest("xen-hvm", NAME), RUNNING, NEVER)).rejects.toThrow(/no record of.*stop the/);
    expect(await others.list()).toEqual([]);
    await others.stop(NAME, FORCED, NEVER);
    expect(await domains()).toEqual([]);
    await others.close();
  });

  it("finds its guest again without a record of it", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    const [record = ""] = (await xen.leftovers()).filter((file) => file.endsWith(".json"));
    await driver.close();
    await rm(record);
    const next = await nextAgent();
    expect(await next.list()).toEqual([]);
    expect(await next.start(guest(), RUNNING, NEVER)).toMatchObject({ status: "running", uuid: guest().uuid });
    expect(await next.list()).toHaveLength(1);
  });

  it("gives disks the same place on every node, and scripts the data of NICs", async () => {
    const disk = {
      uuid: guest().uuid,
      index: 0,
      name: null,
      path: "/dev/drbd7",
      kind: "block",
      format: "raw",
    } as const;
    const nic = { uuid: guest().uuid, index: 0, name: null, mac: "aa:00:00:11:22:33", ip: null, vlan: "" } as const;
    const full = {
      ...guest(),
      disks: [{ ...disk, access: "rw", sizeMib: 8 } as const],
      nics: [{ ...nic, mode: "bridged", link: "br0" } as const],
    };
    await driver.start(full, RUNNING, NEVER);
    const { stateDir } = xen.node.parts;
    expect(await readlink(path.join(stateDir, "disks", `${NAME}:0`))).toBe("/dev/drbd7");
    expect(await readFile(path.join(stateDir, "nics", NAME, "0"), "utf8")).toContain("LINK='br0'\n");
    expect(await readdir(path.join(stateDir, "xen-hypervisor/xen-pvm/conf"))).toEqual([NAME]);
    await driver.stop(NAME, FORCED, NEVER);
    expect(await xen.leftovers()).toEqual([]);
  });

  it("has the site's own script connect NICs once it may be run", async () => {
    const nic = { uuid: guest().uuid, index: 0, name: null, mac: "aa:00:00:11:22:33", ip: null, vlan: "" } as const;
    const spec = { ...guest(), nics: [{ ...nic, mode: "bridged", link: "br0" } as const] };
    const { stateDir } = xen.node.parts;
    const script = path.join(stateDir, "vif-custom");
    const config = () => readFile(path.join(stateDir, "xen-hypervisor/xen-pvm/conf", NAME), "utf8");
    await writeFile(script, "#!/bin/sh\n", { mode: 0o644 });
    await driver.start(spec, RUNNING, NEVER);
    expect(await config()).not.toContain("script=");
    await chmod(script, 0o755);
    await driver.reboot(NAME, FORCED, NEVER);
    expect(await config()).toContain(`bridge=br0,script=${script}"`);
  });

  it("is refused for a name that Xen takes for a number", async () => {
    await expect(driver.start(guest("12"), RUNNING, NEVER)).rejects.toThrow(/domain of that number/);
    await expect(driver.stop("12", FORCED, NEVER)).rejects.toThrow(HypervisorError);
  });

  it("is refused when the node lacks a file", async () => {
    const lacking = xen.guest("xen-pvm", NAME, { kernel_path: "/nonexistent/vmlinuz" });
    await expect(driver.validate(lacking)).rejects.toThrow(/kernel_path is \/nonexistent\/vmlinuz, which this node/);
    const hvm = xen.driver("xen-hvm");
    const vnc = xen.guest("xen-hvm", NAME, { vnc_password_file: "/nonexistent/password" });
    await expect(hvm.validate(vnc)).rejects.toThrow(/vnc_password_file/);
    await hvm.validate({ ...vnc, hvparams: { ...vnc.hvparams, vnc_bind_address: "" } });
    await hvm.close();
  });
});

describe("a stop", () => {
  it("destroys a guest that does not obey, after its time", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    fault("shutdown", { hang: true });
    await driver.stop(NAME, SOFT, NEVER);
    expect(await xen.leftovers()).toEqual([]);
  });

  it("that is aborted while it waits leaves the guest running", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    fault("shutdown", { hang: true });
    const abort = new AbortController();
    const stopping = driver.stop(NAME, { force: false, timeoutMs: 60_000 }, abort.signal);
    stopping.catch(() => {});
    setTimeout(() => abort.abort(), 300);
    await expect(stopping).rejects.toThrow(HypervisorError);
    expect(await driver.state(NAME)).toMatchObject({ status: "running" });
  });

  it("that fails keeps what is known of the guest", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    fault("destroy", { answer: { exitCode: 1, stderr: "busy\n" } });
    await expect(driver.stop(NAME, FORCED, NEVER)).rejects.toThrow(/could not destroy domain web1.example: .*busy/);
    expect(await driver.state(NAME)).toMatchObject({ status: "running" });
    repair("destroy");
    await driver.stop(NAME, FORCED, NEVER);
    expect(await xen.leftovers()).toEqual([]);
  });

  it("takes what an interrupted migration left of the guest with it", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    await withXen(xen.folder, (state) => {
      const [domain] = state.domains;
      for (const [id, suffix] of ["--incoming", "--migratedaway", "x"].entries())
        if (domain !== undefined) state.domains.push({ ...domain, id: 100 + id, name: `${NAME}${suffix}` });
    });
    await driver.stop(NAME, FORCED, NEVER);
    expect(await domains()).toEqual([`${NAME}x`]);
  });
});

describe("a guest", () => {
  it.each(["off", "crashed"] as const)("that ends by itself is told apart: %s", async (how) => {
    await driver.start(guest(), RUNNING, NEVER);
    await endGuest(xen.folder, NAME, how);
    const status = how === "off" ? "shutdown" : "crashed";
    expect(await driver.state(NAME)).toMatchObject({ status, uptimeSeconds: 0 });
    expect(await (await nextAgent()).list()).toMatchObject([{ status }]);
    await expect(driver.console(NAME)).rejects.toThrow(/does not run/);
    expect(await driver.start(guest(), RUNNING, NEVER)).toMatchObject({ status: "running" });
    expect(await domains()).toEqual([NAME]);
  });

  it("that restarts itself begins its time anew, for the next agent, too", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    const before = await eventually(async () => {
      const state = await driver.state(NAME);
      return state !== undefined && state.uptimeSeconds > 1 && state;
    });
    await restartGuest(xen.folder, NAME);
    const after = await driver.state(NAME);
    expect(after).toMatchObject({ status: "running" });
    expect(after?.uptimeSeconds).toBeLessThan(before.uptimeSeconds);
    await eventually(async () => {
      const files = (await xen.leftovers()).filter((file) => file.endsWith(".json"));
      return (await readFile(files[0] ?? "", "utf8")).includes('"domainId":2');
    });
  });

  it("that does not reboot when asked is started anew", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    fault("reboot", { answer: { exitCode: 0 } });
    expect(await driver.reboot(NAME, SOFT, NEVER)).toMatchObject({ status: "running" });
    expect(await withXen(xen.folder, (state) => state.domains.map(({ id }) => id))).toEqual([2]);
  });

  it("has its memory changed, for its next start, too", async () => {
    const large = { ...guest(), startMemoryMib: 32, maxMemoryMib: 64 };
    await driver.start(large, RUNNING, NEVER);
    await driver.setMemory(NAME, 48, NEVER);
    expect(await driver.state(NAME)).toMatchObject({ memoryMib: 48 });
    await nextAgent();
    expect(await driver.reboot(NAME, FORCED, NEVER)).toMatchObject({ memoryMib: 48 });
    await expect(driver.setMemory(NAME, 65, NEVER)).rejects.toThrow(/at most 64 MiB/);
  });

  it("whose memory does not change is told of", { timeout: 30_000 }, async () => {
    await driver.start({ ...guest(), startMemoryMib: 32, maxMemoryMib: 64 }, RUNNING, NEVER);
    fault("mem-set", { answer: { exitCode: 0 } });
    await expect(driver.setMemory(NAME, 48, NEVER)).rejects.toThrow(/still has 32 MiB/);
    expect(await driver.reboot(NAME, FORCED, NEVER)).toMatchObject({ memoryMib: 32 });
  });

  it("has its console through Xen's command", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    expect(await driver.console(NAME)).toEqual({ kind: "ssh", command: [tool("xl"), "console", NAME] });
  });
});

describe("xen_cmd", () => {
  const ofXm = () => xen.guest("xen-pvm", NAME, { xen_cmd: "xm" });

  it("xm is used for everything of a node that has nothing else, and by the next agent", async () => {
    await rm(tool("xl") ?? "");
    await driver.start(ofXm(), RUNNING, NEVER);
    expect(await driver.console(NAME)).toEqual({ kind: "ssh", command: [tool("xm"), "console", NAME] });
    const next = await nextAgent();
    expect(await next.list()).toMatchObject([{ name: NAME, status: "running" }]);
    expect(await next.describe(NEVER)).toMatchObject({ version: "4.17.7" });
    expect(await next.reboot(NAME, SOFT, NEVER)).toMatchObject({ status: "running" });
    await next.save(NAME, NEVER);
    expect(await (await nextAgent()).restore(ofXm(), RUNNING, NEVER)).toMatchObject({ status: "running" });
    await driver.stop(NAME, FORCED, NEVER);
    expect(await xen.leftovers()).toEqual([]);
    expect(await (await nextAgent()).describe(NEVER)).toMatchObject({ version: "4.17.7" });
    await expect(driver.validate(guest())).rejects.toThrow(/xen_cmd is xl, but this node has no .*\/xl$/);
  });

  it("is xl, also of a guest that was started before there was the parameter, and may change with a start", async () => {
    const { xen_cmd: _, ...hvparams } = guest().hvparams;
    await driver.start({ ...guest(), hvparams }, RUNNING, NEVER);
    expect(await (await nextAgent()).console(NAME)).toMatchObject({ command: [tool("xl"), "console", NAME] });
    await driver.stop(NAME, FORCED, NEVER);
    await driver.start(ofXm(), RUNNING, NEVER);
    expect(await driver.console(NAME)).toMatchObject({ command: [tool("xm"), "console", NAME] });
    await driver.stop(NAME, FORCED, NEVER);
    await driver.start(guest(), RUNNING, NEVER);
    expect(await driver.console(NAME)).toMatchObject({ command: [tool("xl"), "console", NAME] });
  });

  it("xm is refused before anything is done where it is not there, or the node says xl", async () => {
    await rm(tool("xm") ?? "");
    await expect(driver.validate(ofXm())).rejects.toThrow(/xen_cmd is xm, but this node has no .*\/xm$/);
    await driver.start(guest(), RUNNING, NEVER);
    expect(await driver.list()).toMatchObject([{ status: "running" }]);
    expect(() => toolstackFor("xm", xenOptions({ toolstack: "xl" }))).toThrow(/is set up for xl/);
  });

  it("does not change what a node's own file says that it has", () => {
    const told = xenOptions({ toolstack: "xm", toolstackPath: "/bin/true" });
    expect(toolstackFor("xl", told)).toEqual({ kind: "xm", path: "/bin/true" });
    expect(toolstackAtFirst(["xl"], told)).toEqual({ kind: "xm", path: "/bin/true" });
  });
});

describe("Xen itself", () => {
  it("is asked again when it cannot list for a moment", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    fault("list", { answer: { exitCode: 1 } });
    setTimeout(() => repair("list"), 500);
    expect(await driver.list()).toMatchObject([{ status: "running" }]);
  });

  it.each<[string, ToolFault, RegExp]>([
    ["fails for long", { answer: { exitCode: 1, stderr: "no xenstore\n" } }, /could not list its domains: .*xenstore/],
    ["prints nothing", { answer: { exitCode: 0 } }, /cannot be read/],
    ["prints garbage", { answer: { exitCode: 0, stdout: "%$!\n\0\n" } }, /cannot be read/],
  ])("that %s makes no guest gone", async (_what, what, message) => {
    await driver.start(guest(), RUNNING, NEVER);
    fault("list", what);
    await expect(driver.list()).rejects.toThrow(message);
    repair("list");
    expect(await driver.list()).toMatchObject([{ status: "running" }]);
  });

  it("that prints garbage ends no guest", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    fault("list", { answer: { exitCode: 0, stdout: "Name ID Mem\n" } });
    await expect(driver.stop(NAME, FORCED, NEVER)).rejects.toThrow(HypervisorError);
    expect(await domains()).toEqual([NAME]);
  });

  it("that is not there is named", async () => {
    const lacking = await makeXenNode({ xen: xenOptions({ toolstackPath: "/nonexistent/xl" }) });
    const without = lacking.driver("xen-pvm");
    await without.recover();
    await expect(without.describe(NEVER)).rejects.toThrow(/\/nonexistent\/xl.* there is no such program/);
    await expect(without.list()).rejects.toThrow(HypervisorError);
    await without.close();
    await lacking.node.remove();
  });

  it("tells what the machine has, of which domain 0 sees its part", async () => {
    await driver.start(guest(), RUNNING, NEVER);
    expect(await driver.describe(NEVER)).toEqual({ name: "xen-pvm", version: "4.17.7", accelerated: true });
    expect(await driver.hostResources(NEVER)).toEqual({
      memoryTotalMib: 65_536,
      memoryFreeMib: 65_536 - 768 - 32,
      memoryNodeMib: 768,
      cpuTotal: 8,
      cpuSockets: 2,
      cpuNumaNodes: 2,
      cpuNode: 1,
    });
  });

  it("gives the node its memory and processors, and the kernel does when Xen cannot be asked", async () => {
    const facts = new NodeFacts({
      nodeName: "node1.example",
      hypervisors: new Map([["xen-pvm", driver]]),
      blockDevices: [],
      spindles: async () => [],
      logger: xen.node.parts.logger,
    });
    expect(await facts.describe(NEVER, { space: "read" })).toMatchObject({
      memoryTotalMib: 65_536,
      memoryNodeMib: 768,
      cpuTotal: 8,
    });
    fault("info", { answer: { exitCode: 1, stderr: "no hypervisor\n" } });
    const { memoryTotalMib, hypervisors } = await facts.describe(NEVER, { space: "read" });
    expect(memoryTotalMib).toBe(Math.floor(totalmem() / 1024 / 1024));
    expect(hypervisors).toMatchObject([{ name: "xen-pvm", problem: expect.stringMatching(/no hypervisor/) }]);
  });

  it("resets the node, or says why not", async () => {
    await driver.powercycle(NEVER);
    fault("debug-keys", { answer: { exitCode: 1, stderr: "denied\n" } });
    await expect(driver.powercycle(NEVER)).rejects.toThrow(/could not reset this node: .*debug-keys R .*denied/);
  });
});
