/** A daemon dies in the middle of a create: the job ends as error, nothing is left, and the name is free again. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";
const HYPERVISOR = existsSync(QEMU) ? "kvm" : "fake";
if (HYPERVISOR === "fake") console.warn(`Testing with the fake hypervisor only: ${QEMU} is not installed`);

const create = (name: string, os: string) => ({
  __version__: 1,
  mode: "create",
  instance_name: name,
  disk_template: "file",
  disks: [{ size: 8 }],
  nics: [{}],
  os_type: os,
  pnode: "node1.gannet.test",
  hypervisor: HYPERVISOR,
});

let cluster: OneMachineCluster;

beforeAll(async () => {
  cluster = await OneMachineCluster.start({ hypervisors: HYPERVISOR === "kvm" ? "kvm,fake" : "fake" });
  await defineOs("slow", `touch ${cluster.stateDir}/$INSTANCE_NAME.begun\nexec sleep 3600`);
  await defineOs("failing", "echo 'no such mirror' >&2\nexit 7");
  await defineOs("chatty", "head -c 10000000 /dev/zero | tr '\\0' x\nexit 1");
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** An OS definition whose create script is this one. */
async function defineOs(name: string, script: string): Promise<void> {
  const dir = path.join(cluster.stateDir, "os", name);
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, "ganeti_api_version"), "20\n");
  await writeFile(path.join(dir, "parameters.list"), "");
  for (const file of ["create", "import", "export", "rename", "verify"]) {
    await writeFile(path.join(dir, file), `#!/bin/sh\n${file === "create" ? script : "exit 0"}\n`);
    await chmod(path.join(dir, file), 0o755);
  }
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never came true: ${what}`);
    await delay(50);
  }
}

const files = (part: string): string[] =>
  readdirSync(cluster.stateDir, { recursive: true, encoding: "utf8" }).filter((name) => name.includes(part));

/** Processes that work for this cluster's instances: guests and OS scripts. */
function workers(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const cwd = readFileSync(`/proc/${pid}/environ`, "utf8");
        const ours = line.includes(`${cluster.stateDir}/`) || cwd.includes(`${cluster.stateDir}/`);
        return ours && (line.startsWith(QEMU) || line.startsWith("sleep ")) ? [line] : [];
      } catch {
        return [];
      }
    });
}

async function nothingLeft(): Promise<void> {
  expect((await cluster.rapi("GET", "/2/instances")).body).toEqual([]);
  expect(files(".file.disk")).toEqual([]);
  await until("no process is left", () => workers().length === 0);
}

async function beginCreate(name: string): Promise<number> {
  const { body } = await cluster.rapi("POST", "/2/instances", { body: create(name, "slow") });
  await until("the OS script runs", () => files(`${name}.begun`).length > 0);
  return body as number;
}

describe.each(["master", "node1"])("%s is killed while the OS script runs", (daemon) => {
  test("the job ends as error, nothing is left, and the next create of the name succeeds", async () => {
    const name = `${daemon}-victim.gannet.test`;
    const id = await beginCreate(name);
    const pid = await cluster.pid(daemon);
    process.kill(pid, "SIGKILL");
    await until("it is started again", async () => (await cluster.pid(daemon)) !== pid);
    const job = await cluster.finished(id);
    expect(job.status).toBe("error");
    expect(job.opresult[0]).toEqual(["OpExecError", [expect.any(String)]]);
    await nothingLeft();

    const again = await cluster.job("POST", "/2/instances", create(name, "noop"));
    expect(again).toMatchObject({ status: "success" });
    expect(await cluster.job("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 })).toMatchObject({
      status: "success",
    });
    await nothingLeft();
  }, 120_000);
});

test.each(["failing", "chatty"])("an OS script that is %s: its words in the error, nothing left", async (os) => {
  const job = await cluster.job("POST", "/2/instances", create(`${os}.gannet.test`, os));
  expect(job.status).toBe("error");
  const [className, [text]] = job.opresult[0] as [string, [string]];
  expect(className).toBe("OpExecError");
  if (os === "failing") expect(text).toContain("no such mirror");
  expect(text.length).toBeLessThan(20_000);
  await nothingLeft();
});

test.skipIf(HYPERVISOR !== "kvm")("a qemu that exits at once: its words in the error, nothing left", async () => {
  const job = await cluster.job("POST", "/2/instances", {
    ...create("odd.gannet.test", "noop"),
    hvparams: { kvm_extra: "-nosuchoption" },
  });
  expect(job.status).toBe("error");
  expect(JSON.stringify(job.opresult[0])).toContain("nosuchoption");
  await nothingLeft();
});

test("guests survive the death of their agent", async () => {
  const name = "survivor.gannet.test";
  expect(await cluster.job("POST", "/2/instances", create(name, "noop"))).toMatchObject({ status: "success" });
  const before = workers();
  const pid = await cluster.pid("node1");
  process.kill(pid, "SIGKILL");
  await until("it is started again", async () => (await cluster.pid("node1")) !== pid);
  await until("the instance is seen running again", async () => {
    const { body } = await cluster.rapi("GET", `/2/instances/${name}`);
    return (body as { status: string }).status === "running";
  });
  expect(workers()).toEqual(before);
  expect(await cluster.job("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 })).toMatchObject({
    status: "success",
  });
  await nothingLeft();
});
