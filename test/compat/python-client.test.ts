/** Debian's python3-ganeti-rapi, unchanged, takes an instance through its whole life. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { hasPythonClient, runClientSteps } from "./client-script.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";

interface FinishedStep {
  readonly ok: boolean;
  readonly job: { readonly status: string; readonly opresult: readonly unknown[]; readonly summary: readonly string[] };
}

/** Command lines of this cluster's qemu processes. */
function guests(cluster: OneMachineCluster): string[][] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return argv[0] === QEMU && argv.some((arg) => arg.includes(cluster.stateDir)) ? [argv] : [];
      } catch {
        return [];
      }
    });
}

function diskFiles(cluster: OneMachineCluster): string[] {
  return readdirSync(cluster.stateDir, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.includes(".file.disk"),
  );
}

describe.skipIf(!hasPythonClient()).each([
  { hypervisor: "fake", possible: true },
  { hypervisor: "kvm", possible: existsSync(QEMU) },
])("with $hypervisor", ({ hypervisor, possible }) => {
  if (!possible) console.log(`skipped: ${QEMU} is not installed`);
  let cluster: OneMachineCluster;
  let steps: ReadonlyMap<string, unknown>;

  beforeAll(async () => {
    if (!possible) return;
    cluster = await OneMachineCluster.start({ hypervisors: hypervisor === "kvm" ? "kvm,fake" : "fake" });
    steps = await runClientSteps(cluster, "life_cycle.py", hypervisor);
  }, 300_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  const finished = (step: string): FinishedStep => steps.get(step) as FinishedStep;

  test.skipIf(!possible)("static resources answer as Ganeti's", () => {
    expect(steps.get("version")).toBe(2);
    expect(steps.get("features")).toEqual([
      "instance-create-reqv1",
      "instance-reinstall-reqv1",
      "node-evac-res1",
      "node-migrate-reqv1",
    ]);
    expect(steps.get("info")).toMatchObject({ name: "cluster.gannet.test", master: "node1.gannet.test" });
    expect(steps.get("os")).toContain("noop");
    expect(steps.get("nodes")).toEqual(["node1.gannet.test", "node2.gannet.test", "node3.gannet.test"]);
    expect(steps.get("node-role")).toBe("master");
    expect(steps.get("node")).toMatchObject({ name: "node1.gannet.test", offline: false, mtotal: expect.any(Number) });
    expect(steps.get("groups")).toMatchObject([{ name: "default", node_cnt: 3 }]);
  });

  test.skipIf(!possible)("a dry run checks and creates nothing", () => {
    expect(finished("dry-run")).toMatchObject({ ok: true, job: { opresult: [["node1.gannet.test"]] } });
    expect(steps.get("after-dry-run")).toEqual([]);
  });

  test.skipIf(!possible)("create gives a running instance with its memory and processors", () => {
    expect(finished("create")).toMatchObject({
      ok: true,
      job: { status: "success", summary: ["INSTANCE_CREATE(web1.gannet.test)"], opresult: [["node1.gannet.test"]] },
    });
    expect(steps.get("instances")).toEqual(["web1.gannet.test"]);
    const row = {
      name: "web1.gannet.test",
      status: "running",
      oper_state: true,
      oper_ram: 128,
      oper_vcpus: 1,
      admin_state: "up",
      pnode: "node1.gannet.test",
      disk_template: "file",
      "disk.sizes": [128],
      os: "noop",
    };
    expect(steps.get("running")).toMatchObject(row);
    expect(steps.get("bulk")).toMatchObject([row]);
    expect(steps.get("console")).toMatchObject({
      instance: "web1.gannet.test",
      kind: hypervisor === "kvm" ? "ssh" : "msg",
    });
    expect(finished("info-job").job.opresult).toMatchObject([
      { "web1.gannet.test": { name: "web1.gannet.test", run_state: "up", config_state: "up" } },
    ]);
  });

  test.skipIf(!possible)("a second create of the same name is refused", () => {
    expect(finished("create-again")).toMatchObject({
      ok: false,
      job: { opresult: [["OpPrereqError", [expect.stringContaining("web1.gannet.test"), "already_exists"]]] },
    });
  });

  test.skipIf(!possible)("tags of every kind of object are set, read and removed", () => {
    expect(steps.get("tags")).toEqual(["owner:bob", "red"]);
    expect(steps.get("tags-left")).toEqual(["owner:bob"]);
    expect(steps.get("cluster-tags")).toEqual(["blue"]);
    expect(steps.get("node-tags")).toEqual(["rack:1"]);
    expect(steps.get("group-tags")).toEqual(["main"]);
  });

  test.skipIf(!possible)("shutdown, startup and the three reboots do what they say", () => {
    expect(finished("shutdown").ok).toBe(true);
    expect(steps.get("down")).toMatchObject({
      status: "ADMIN_down",
      oper_state: false,
      oper_ram: null,
      admin_state: "down",
    });
    expect(steps.get("console-down")).toMatchObject({ code: 503 });
    for (const step of ["startup", "reboot-soft", "reboot-hard", "reboot-full"])
      expect(finished(step), step).toMatchObject({ ok: true });
    for (const step of ["up", "rebooted-soft", "rebooted-hard", "rebooted-full"])
      expect(steps.get(step), step).toMatchObject({ status: "running", oper_ram: 128 });
  });

  test.skipIf(!possible)("a running instance's devices and parameters change", () => {
    expect(finished("modify-devices").job.opresult[0]).toEqual([
      ["disk/1", "add:size=64,mode=rw"],
      ["disk/1", "hotplug:done"],
      ["nic.1", expect.stringMatching(/^add:mac=aa:00:00:77:00:01,ip=None,mode=bridged,/)],
      ["nic.1", expect.stringMatching(/^hotplug:(done|failed)$/)],
    ]);
    expect(steps.get("with-devices")).toMatchObject({ "disk.sizes": [128, 64], "nic.names": [null, "second"] });
    expect(finished("modify-back")).toMatchObject({ ok: true });
    expect(finished("modify").job.opresult).toEqual([[["be/vcpus", 2]]]);
    expect(finished("modify-os").job.opresult).toEqual([
      ["OpPrereqError", [expect.stringContaining("dhcp"), "wrong_input"]],
    ]);
    expect(finished("modify-nothing").job.opresult).toEqual([
      ["OpPrereqError", ["No changes submitted", "wrong_input"]],
    ]);
    expect(steps.get("modified")).toMatchObject({
      ...{ "disk.sizes": [128], "nic.names": [null], custom_osparams: {} },
      beparams: { vcpus: 2 },
    });
  });

  test.skipIf(!possible)("it is reinstalled, and runs again with its new processors", () => {
    expect(finished("reinstall")).toMatchObject({ ok: true, job: { opresult: [null, null, null] } });
    expect(steps.get("reinstalled")).toMatchObject({ status: "running", oper_vcpus: 2 });
  });

  test.skipIf(!possible)("it is renamed and marked offline when it is down", () => {
    expect(finished("rename-running").job.opresult).toEqual([["OpPrereqError", [expect.any(String), "wrong_state"]]]);
    expect(finished("rename")).toMatchObject({ ok: true, job: { opresult: ["web3.gannet.test"] } });
    expect(steps.get("renamed")).toEqual(["web3.gannet.test"]);
    expect(finished("offline").job.opresult).toEqual([[["admin_state", "offline"]]]);
    expect(steps.get("offline-state")).toMatchObject({ status: "ADMIN_offline", admin_state: "offline" });
    expect(finished("startup-offline").ok).toBe(false);
    for (const step of ["online", "rename-back", "startup-again"])
      expect(finished(step), step).toMatchObject({ ok: true });
  });

  test.skipIf(!possible)("several instances are created at once, on the nodes that they name", () => {
    expect(finished("prepare-export")).toMatchObject({ ok: true, job: { opresult: [null] } });
    const names = ["many1.gannet.test", "many2.gannet.test"];
    const jobs = names.map(() => [true, expect.any(Number)]);
    expect(finished("multi-alloc").job.opresult).toEqual([{ jobs, allocatable: names, failed: [] }]);
    expect(steps.get("many")).toEqual([...names, "web1.gannet.test"]);
    for (const name of names) expect(finished(`delete-${name}`).ok).toBe(true);
  });

  test.skipIf(!possible)("delete leaves no process, no file and no row", () => {
    expect(finished("delete").ok).toBe(true);
    expect(steps.get("gone")).toEqual([]);
    expect(steps.get("instance-gone")).toMatchObject({ code: 404 });
    expect(guests(cluster)).toEqual([]);
    expect(diskFiles(cluster)).toEqual([]);
  });

  test.skipIf(!possible)("failures come in the classes that clients catch", () => {
    expect(steps.get("job-unknown")).toMatchObject({ code: 404, text: expect.stringContaining("404 Not Found") });
    expect(finished("failed")).toMatchObject({ ok: false, job: { status: "error" } });
    expect(finished("failed").job.opresult[0]).toEqual([
      "OpPrereqError",
      [expect.stringContaining("nosuchos"), "unknown_entity"],
    ]);
    expect(steps.get("change")).toMatchObject({ job_info: [expect.any(Number), "error"] });
    expect(steps.get("cancel-final")).toMatchObject([false, expect.any(String)]);
  });
});
