/** What keeps guests apart on their node: processors, users, root folders and control groups, of real processes. */
import { mkdtemp, readdir, readFile, readlink, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { createCommandRunner } from "@gannet/exec";
import { HYPERVISOR_DEFAULTS, type Parameters } from "@gannet/objects";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { shortHash } from "../../../src/hypervisors/file-stem.ts";
import { detectGuestScopes, scopeName } from "../../../src/hypervisors/kvm/isolation/guest-scopes.ts";
import { parseUsers } from "../../../src/hypervisors/kvm/isolation/node-users.ts";
import { UidPool } from "../../../src/hypervisors/kvm/isolation/uid-pool.ts";
import { KvmHypervisor } from "../../../src/hypervisors/kvm/kvm-hypervisor.ts";
import { bareGuest, makeTestNode, type TestNode } from "../node-fixture.ts";

const NEVER = new AbortController().signal;
const RUNNING = { paused: false } as const;
const FORCED = { force: true, timeoutMs: 10_000 } as const;
/** Users of every Debian that run nothing: mail, news, uucp. Number 11 is nobody's. */
const POOL = [
  [8, 9],
  [10, 11],
] as const;

const isRoot = process.geteuid?.() === 0;
if (!isRoot) console.warn("Not testing users, root folders and control groups of guests: that takes root");

const runner = createCommandRunner({ logger: silentLogger() });
let node: TestNode;
let driver: KvmHypervisor;
let base: string;

beforeAll(async () => {
  node = await makeTestNode({ kvmAcceleration: "off" });
  base = path.join(node.parts.stateDir, "kvm-hypervisor");
  driver = new KvmHypervisor(node.parts);
  await driver.recover();
});
afterEach(async () => {
  for (const { name } of await driver.list()) await driver.stop(name, FORCED, NEVER);
});
afterAll(async () => {
  await driver.close();
  await node.remove();
});

function guestWith(params: Parameters, changes: Partial<GuestSpec> = {}): GuestSpec {
  return { ...bareGuest("web1.example", "kvm", { ...HYPERVISOR_DEFAULTS.kvm, ...params }), ...changes };
}

async function pidOf(name: string): Promise<number> {
  return Number(await readFile(path.join(base, "pid", name), "utf8"));
}

/** A line of /proc/<pid>/status, or of one of its threads'. */
function statusLine(text: string, field: string): string {
  return new RegExp(`^${field}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";
}

describe("pinning", () => {
  /** Where each thread may run, by the thread's name. */
  async function affinities(name: string): Promise<ReadonlyMap<string, string>> {
    const folder = `/proc/${await pidOf(name)}/task`;
    const threads = await Promise.all(
      (await readdir(folder)).map(async (id) => {
        const text = await readFile(path.join(folder, id, "status"), "utf8");
        return [statusLine(text, "Name"), statusLine(text, "Cpus_allowed_list")] as const;
      }),
    );
    return new Map(threads);
  }

  it("reaches each virtual processor, and nothing else of the guest", async () => {
    await driver.start(guestWith({ cpu_mask: "0:all", kvm_extra: "-accel tcg,thread=multi" }), RUNNING, NEVER);
    const all = await affinities("web1.example");
    const everywhere = statusLine(await readFile("/proc/self/status", "utf8"), "Cpus_allowed_list");
    expect(all.get("CPU 0/TCG")).toBe("0");
    expect(all.get("CPU 1/TCG")).toBe(everywhere);
    expect(all.get("qemu-system-x86") ?? all.get("kvm")).toBe(everywhere);
  });

  it("of the whole guest reaches all its threads, and holds after a reboot", async () => {
    await driver.start(guestWith({ cpu_mask: "0", kvm_extra: "-accel tcg,thread=multi" }), RUNNING, NEVER);
    expect(new Set((await affinities("web1.example")).values())).toEqual(new Set(["0"]));
    await driver.reboot("web1.example", FORCED, NEVER);
    expect(new Set((await affinities("web1.example")).values())).toEqual(new Set(["0"]));
  });
});

describe.skipIf(!isRoot)("a guest's user", () => {
  const idsOf = async (name: string) => {
    const status = await readFile(`/proc/${await pidOf(name)}/status`, "utf8");
    return [statusLine(status, "Uid"), statusLine(status, "Gid"), statusLine(status, "Groups").trim()];
  };

  it("is the one of security_domain, without its further groups", async () => {
    await driver.start(guestWith({ security_model: "user", security_domain: "games" }), RUNNING, NEVER);
    expect(await idsOf("web1.example")).toEqual(["5\t5\t5\t5", "60\t60\t60\t60", "60"]);
    expect(await driver.state("web1.example")).toMatchObject({ status: "running" });
  });

  it("is one of the pool that no other guest has, until the pool is empty", async () => {
    const pooled = (name: string) => ({
      ...bareGuest(name, "kvm", { ...HYPERVISOR_DEFAULTS.kvm, security_model: "pool" }),
      uidPool: POOL,
    });
    const names = ["a.example", "b.example", "c.example"];
    await Promise.all(names.map((name) => driver.start(pooled(name), RUNNING, NEVER)));
    const uids = await Promise.all(names.map(async (name) => Number((await idsOf(name))[0]?.split("\t")[0])));
    expect([...uids].sort((a, b) => a - b)).toEqual([8, 9, 10]);
    await expect(driver.start(pooled("d.example"), RUNNING, NEVER)).rejects.toThrow(/every user of .* is in use/);
    await driver.stop("b.example", FORCED, NEVER);
    await driver.start(pooled("d.example"), RUNNING, NEVER);
    expect(await idsOf("d.example")).toEqual(await idsOfUid(uids[1] ?? 0));
  });

  async function idsOfUid(uid: number): Promise<readonly string[]> {
    return [`${uid}\t${uid}\t${uid}\t${uid}`, `${uid}\t${uid}\t${uid}\t${uid}`, String(uid)];
  }

  it("and its root folder are its own: it sees nothing of the node", async () => {
    const params = { security_model: "user", security_domain: "games", use_chroot: true };
    await driver.start(guestWith(params), RUNNING, NEVER);
    const chroot = path.join(base, "chroot/web1.example");
    expect(await readlink(`/proc/${await pidOf("web1.example")}/root`)).toBe(chroot);
    await driver.stop("web1.example", FORCED, NEVER);
    expect(await readdir(path.join(base, "chroot"))).toEqual([]);
  });

  it("leaves what it wrote into its root folder to be looked at", async () => {
    await driver.start(guestWith({ use_chroot: true }), RUNNING, NEVER);
    await writeFile(path.join(base, "chroot/web1.example/core"), "dump");
    await driver.stop("web1.example", FORCED, NEVER);
    const [kept = ""] = await readdir(path.join(base, "chroot-quarantine"));
    expect(kept).toMatch(/^web1\.example-\d+$/);
    expect(await readFile(path.join(base, "chroot-quarantine", kept, "core"), "utf8")).toBe("dump");
  });
});

describe("the users of a pool", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gannet-uids-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("are read as the node tells them", () => {
    expect(parseUsers("mail:x:8:12:mail:/var/mail:/bin/false\ngarbage\n:x:1:1::/:\n")).toEqual([{ uid: 8, gid: 12 }]);
  });

  it("are lent to many at once without two getting the same, by several agents", async () => {
    const agents = [1, 2].map(() => new UidPool({ runner, folder }));
    const borrowers = ["/a/1", "/a/2", "/b/1", "/b/2"];
    const answers = await Promise.allSettled(
      borrowers.map((borrower, index) => agents[index % 2]?.borrow(POOL, borrower)),
    );
    const lent = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value?.uid] : []));
    expect(lent).toHaveLength(3);
    expect(new Set(lent).size).toBe(3);
    for (const borrower of borrowers) await agents[0]?.giveBack(borrower);
    expect(await readdir(folder)).toEqual([]);
  });

  it("are none that a process has", async () => {
    const own = process.geteuid?.() ?? 0;
    const pool = new UidPool({ runner, folder });
    await expect(pool.borrow([[own, own]], "/a/1")).rejects.toThrow(/is in use on this node/);
  });

  it("stay somebody else's when their borrower gives back what it has not", async () => {
    const pool = new UidPool({ runner, folder });
    await pool.borrow([[8, 8]], "/a/1");
    await pool.giveBack("/a/10");
    await expect(pool.borrow([[8, 8]], "/a/2")).rejects.toThrow(/is in use/);
    await pool.giveBack("/a/1");
  });
});

describe("a guest's control group", () => {
  const nowhere = { systemdMark: "/nonexistent", cgroupRoot: "/nonexistent" };

  it("is a scope of systemd where that runs", async () => {
    const scopes = await detectGuestScopes("/var/lib/gannet", { ...nowhere, systemdMark: "/" });
    const argv = scopes.wrap("web1.example", ["/usr/bin/kvm", "-S"]);
    if (!isRoot) return expect(argv).toEqual(["/usr/bin/kvm", "-S"]);
    expect(argv).toEqual([
      "/usr/bin/systemd-run",
      ...["--scope", "--quiet", "--collect", "--slice=gannet-guests.slice"],
      expect.stringMatching(/^--unit=gannet-guest-[0-9a-f]{16}-web1\.example\.scope$/),
      ...["--", "/usr/bin/kvm", "-S"],
    ]);
  });

  it("has a name that systemd takes, for long names too", () => {
    expect(scopeName("0123456789abcdef", "~fedcba9876543210")).toMatch(/^[A-Za-z0-9:_.-]+\.scope$/);
  });

  it("is none where there is neither systemd nor a unified hierarchy", async () => {
    const scopes = await detectGuestScopes("/var/lib/gannet", nowhere);
    expect(scopes.wrap("web1.example", ["/usr/bin/kvm"])).toEqual(["/usr/bin/kvm"]);
    await scopes.adopt("web1.example", process.pid);
    await scopes.remove("web1.example");
  });

  it.skipIf(!isRoot)("is made in the unified hierarchy without systemd, and goes after the process", async (test) => {
    const root = await mkdtemp(path.join(tmpdir(), "gannet-cgroup-"));
    const mounted = await runner.run({ argv: ["/bin/mount", "-t", "cgroup2", "none", root], timeoutMs: 5_000 }).then(
      () => true,
      () => false,
    );
    if (!mounted) return test.skip("a cgroup2 file system cannot be mounted here");
    try {
      const scopes = await detectGuestScopes(node.parts.stateDir, { ...nowhere, cgroupRoot: root });
      await driver.start(guestWith({}), RUNNING, NEVER);
      const pid = await pidOf("web1.example");
      await scopes.adopt("web1.example", pid);
      const group = path.join(root, "gannet-guests", shortHash(node.parts.stateDir), "web1.example");
      expect((await readFile(path.join(group, "cgroup.procs"), "utf8")).trim()).toBe(String(pid));
      await driver.stop("web1.example", FORCED, NEVER);
      await scopes.remove("web1.example");
      expect(await readdir(path.dirname(group))).not.toContain("web1.example");
      await expect(scopes.adopt("web2.example", 2 ** 22 + 1)).rejects.toThrow(/control group/);
      await scopes.remove("web2.example");
      await rmdir(path.dirname(group));
    } finally {
      await runner.run({ argv: ["/bin/umount", root], timeoutMs: 5_000 });
      await rm(root, { recursive: true, force: true });
    }
  });
});
