/** UEFI with variables of the instance's own, and its TPM: found, built, started with real OVMF and swtpm, and moved. */
import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS, type Parameters } from "@gannet/objects";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { firmwareArgv, tpmArgv } from "../../../src/hypervisors/kvm/argv/firmware.ts";
import { machineArgv } from "../../../src/hypervisors/kvm/argv/machine.ts";
import { swtpmArgv } from "../../../src/hypervisors/kvm/firmware/swtpm.ts";
import { findUefiFirmware, type WantedFirmware } from "../../../src/hypervisors/kvm/firmware/uefi-firmware.ts";
import { bareGuest, eventually } from "../node-fixture.ts";
import { type MigrationNode, makeCluster, makeFolder, makeMigrationNode, move, NEVER } from "./migration-fixture.ts";
import { planOf } from "./plan-fixture.ts";

const FORCED = { force: true, timeoutMs: 10_000 } as const;
const RUNNING = { paused: false } as const;
/** The firmware writes its variables some ten seconds after its start, under TCG on an idle machine. */
const FIRMWARE_MS = 120_000;
const TEMPLATE = "/usr/share/OVMF/OVMF_VARS_4M.fd";

const missing = (
  await Promise.all(
    ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/bin/swtpm"].map((file) =>
      access(file).then(
        () => [],
        () => [file],
      ),
    ),
  )
).flat();
if (missing.length > 0) console.warn(`Not starting real firmware: ${missing.join(" and ")} missing`);

describe("the command line", () => {
  const firmware = {
    ...{ code: "/fw/code.fd", varsTemplate: "/fw/vars.fd", vars: "/state/vars,1.fd" },
    ...{ codeBytes: 100, varsBytes: 10, needsSmm: false },
  };

  it("puts the code into flash unit 0, read-only, and the variables into unit 1", () => {
    const plan = planOf({ plan: { firmware } });
    expect(machineArgv(plan)).toContain("pc-i440fx-7.2,pflash0=firmware-code,pflash1=firmware-vars");
    expect(
      firmwareArgv(plan)
        .filter((each) => each !== "-blockdev")
        .map((each) => JSON.parse(each)),
    ).toEqual([
      {
        driver: "raw",
        "node-name": "firmware-code",
        "read-only": true,
        file: { driver: "file", filename: "/fw/code.fd" },
      },
      {
        driver: "raw",
        "node-name": "firmware-vars",
        "read-only": false,
        file: { driver: "file", filename: "/state/vars,1.fd" },
      },
    ]);
  });

  it("lets nobody but the firmware write the variables where they guard what is booted", () => {
    const plan = planOf({ plan: { machine: "pc-q35-7.2", firmware: { ...firmware, needsSmm: true } } });
    expect(machineArgv(plan)).toContain("pc-q35-7.2,pflash0=firmware-code,pflash1=firmware-vars,smm=on");
    expect(firmwareArgv(plan)).toContain("driver=cfi.pflash01,property=secure,value=on");
  });

  it("has neither without being asked", () => {
    const plan = planOf({});
    expect([...firmwareArgv(plan), ...tpmArgv(plan)]).toEqual([]);
    expect(machineArgv(plan)).toContain("pc-i440fx-7.2");
  });

  it("joins qemu and swtpm at one socket", () => {
    const plan = planOf({ plan: { tpm: "/state/tpm" } });
    const { tpmSocket } = plan.paths;
    expect(tpmArgv(plan)).toContain(`socket,id=tpm,path=${tpmSocket}`);
    const argv = swtpmArgv(plan.paths, "/state/tpm");
    expect(argv).toContain(`type=unixio,path=${tpmSocket},mode=0600`);
    expect(argv).toContain("dir=/state/tpm,mode=0600");
    expect(argv).toContain("--terminate");
  });
});

describe("firmware of a node", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gannet-firmware-"));
    for (const each of ["system", "admin"]) await mkdir(path.join(folder, each));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  interface Installed {
    readonly name: string;
    readonly where?: "system" | "admin";
    readonly features?: readonly string[];
    readonly machines?: readonly string[];
    readonly varsBytes?: number;
    readonly format?: string;
  }

  async function install({
    name,
    where = "system",
    features = [],
    machines,
    varsBytes = 10,
    format = "raw",
  }: Installed) {
    const [code, vars] = ["code", "vars"].map((part) => path.join(folder, `${where}-${name}.${part}`));
    await writeFile(code ?? "", Buffer.alloc(100));
    await writeFile(vars ?? "", Buffer.alloc(varsBytes));
    const descriptor = {
      "interface-types": ["uefi"],
      mapping: {
        device: "flash",
        executable: { filename: code, format },
        "nvram-template": { filename: vars, format },
      },
      targets: [{ architecture: "x86_64", machines: machines ?? ["pc-i440fx-*", "pc-q35-*"] }],
      features,
    };
    await writeFile(path.join(folder, where, `${name}.json`), JSON.stringify(descriptor));
  }

  const SECURE = ["secure-boot", "enrolled-keys", "requires-smm"];

  async function found(wanted: Partial<WantedFirmware> = {}): Promise<string> {
    const asked = { machine: "pc-q35-7.2", secureBoot: false, sizes: {}, ...wanted };
    const { code } = await findUefiFirmware(
      asked,
      ["system", "admin"].map((each) => path.join(folder, each)),
    );
    return path.basename(code, ".code");
  }

  it("is the first that fits, the administrator's before that of its name", async () => {
    await install({ name: "10-arm", machines: ["virt-*"] });
    await install({ name: "20-secure", features: SECURE, machines: ["pc-q35-*"] });
    await install({ name: "30-own-keys", features: ["secure-boot", "requires-smm"] });
    await install({ name: "40-compressed", format: "qcow2" });
    await install({ name: "50-plain" });
    await install({ name: "60-plain" });
    expect(await found()).toBe("system-50-plain");
    expect(await found({ secureBoot: true })).toBe("system-20-secure");
    await install({ name: "50-plain", where: "admin" });
    expect(await found()).toBe("admin-50-plain");
    await writeFile(path.join(folder, "admin", "50-plain.json"), "");
    expect(await found()).toBe("system-60-plain");
  });

  it("is one in whose flash memory the guest's variables have their place", async () => {
    await install({ name: "50-plain" });
    await install({ name: "60-small", varsBytes: 5 });
    expect(await found({ sizes: { varsBytes: 5 } })).toBe("system-60-small");
    await expect(found({ sizes: { varsBytes: 7 } })).rejects.toThrow(/7 bytes of variables.*install the version/);
    await expect(found({ sizes: { codeBytes: 99, varsBytes: 5 } })).rejects.toThrow(/99 bytes/);
  });

  it("is asked for by name where there is none", async () => {
    await expect(found()).rejects.toThrow(/uefi: .*pc-q35-7.2; install it \(Debian's package ovmf\)/);
    await install({ name: "20-secure", features: SECURE, machines: ["pc-q35-*"] });
    await expect(found({ machine: "pc-i440fx-7.2", secureBoot: true })).rejects.toThrow(/secure_boot: .*q35/);
  });
});

describe.skipIf(missing.length > 0)("a guest with UEFI and a TPM", { timeout: FIRMWARE_MS }, () => {
  let folder: string;
  let one: MigrationNode;
  let two: MigrationNode;
  /** Of a guest whose firmware has come so far as to write its variables. */
  let state: Uint8Array;

  beforeAll(async () => {
    folder = await makeFolder();
    const ca = await makeCluster(folder);
    one = await makeMigrationNode(ca, "node1.gannet.test");
    two = await makeMigrationNode(ca, "node2.gannet.test");
    const guest = guestWith("first.example", { uefi: true, vtpm: true });
    await one.driver.start(guest, RUNNING, NEVER);
    const template = await readFile(TEMPLATE);
    await eventually(async () => !(await varsOf(one, guest)).equals(template));
    await one.driver.stop(guest.name, FORCED, NEVER);
    state = (await one.driver.readNonvolatile(guest.uuid)) ?? new Uint8Array();
    await one.driver.removeNonvolatile(guest.uuid);
  }, FIRMWARE_MS);
  afterEach(async () => {
    for (const { driver } of [one, two]) {
      for (const { name, uuid } of await driver.list()) {
        await driver.stop(name, FORCED, NEVER);
        await driver.removeNonvolatile(uuid);
      }
    }
  });
  afterAll(async () => {
    for (const each of [one, two]) {
      await each?.driver.close();
      await each?.node.remove();
    }
    await rm(folder, { recursive: true, force: true });
  });

  function guestWith(name: string, params: Parameters): GuestSpec {
    const hvparams = { ...HYPERVISOR_DEFAULTS.kvm, migration_bandwidth: 1000, migration_downtime: 300, ...params };
    return { ...bareGuest(name, "kvm", hvparams), maxMemoryMib: 128, startMemoryMib: 128, vcpus: 1 };
  }

  function kept({ node }: MigrationNode, { uuid }: GuestSpec): string {
    return path.join(node.parts.stateDir, "kvm-hypervisor", "nonvolatile", uuid);
  }

  const varsOf = (at: MigrationNode, guest: GuestSpec) => readFile(path.join(kept(at, guest), "uefi-vars.fd"));
  const tpmOf = (at: MigrationNode, guest: GuestSpec) => readFile(path.join(kept(at, guest), "tpm", "tpm2-00.permall"));
  const commands = async ({ node }: MigrationNode, program: string) =>
    (await node.processes()).filter(({ command }) => command.split(" ")[0]?.endsWith(program));

  it("keeps its own over stop and start, lets nobody else see them, and takes its TPM's process with it", async () => {
    const guest = guestWith("uefi.example", { uefi: true, vtpm: true });
    await one.driver.writeNonvolatile(guest.uuid, state);
    const [vars, tpm] = [await varsOf(one, guest), await tpmOf(one, guest)];
    expect(vars).not.toEqual(await readFile(TEMPLATE));
    await one.driver.start(guest, { paused: true }, NEVER);
    expect(await commands(one, "swtpm")).toHaveLength(1);
    await expect(one.driver.readNonvolatile(guest.uuid)).rejects.toThrow(/uefi.example runs on this node/);
    for (const [file, mode] of [
      ["", 0o700],
      ["uefi-vars.fd", 0o600],
      ["tpm", 0o700],
      ["tpm/tpm2-00.permall", 0o600],
    ] as const)
      expect((await stat(path.join(kept(one, guest), file))).mode & 0o777, file).toBe(mode);

    await one.driver.stop(guest.name, FORCED, NEVER);
    expect(await commands(one, "swtpm")).toEqual([]);
    await one.driver.start(guest, { paused: true }, NEVER);
    expect(await varsOf(one, guest)).toEqual(vars);
    expect(await tpmOf(one, guest)).toEqual(tpm);

    // Killed like this neither asks the other to end.
    for (const { pid } of await commands(one, "kvm")) process.kill(pid, "SIGKILL");
    await eventually(async () => (await commands(one, "swtpm")).length === 0);
    await eventually(async () => (await one.driver.state(guest.name))?.status === "crashed");
    await one.driver.stop(guest.name, FORCED, NEVER);

    await one.driver.removeNonvolatile(guest.uuid);
    expect(await one.leftovers()).toEqual([]);
  });

  it("waits for a TPM that has begun to end, of which there is no pid file any more", async () => {
    const guest = guestWith("ending.example", { uefi: true, vtpm: true });
    await one.driver.start(guest, { paused: true }, NEVER);
    const [tpm] = await commands(one, "swtpm");
    const [pidFile = ""] = /(?<=--pid file=)\S+/.exec(tpm?.command ?? "") ?? [];
    process.kill(tpm?.pid ?? 0, "SIGSTOP");
    await rm(pidFile);
    // Asked to end, qemu would wait for the frozen TPM.
    for (const { pid } of await commands(one, "kvm")) process.kill(pid, "SIGKILL");
    await one.driver.stop(guest.name, FORCED, NEVER);
    expect(await commands(one, "swtpm")).toEqual([]);
    await one.driver.removeNonvolatile(guest.uuid);
  });

  it("is live-migrated with both", async () => {
    const guest = guestWith("moving.example", { uefi: true, vtpm: true });
    await one.driver.writeNonvolatile(guest.uuid, state);
    const vars = await varsOf(one, guest);
    await one.driver.start(guest, RUNNING, NEVER);
    const { progress } = await move(guest, one, two);
    expect(progress.at(-1)?.status).toBe("completed");
    // By the firmware itself, when it goes on: it may have written more meanwhile.
    await eventually(async () => {
      const arrived = await varsOf(two, guest);
      return arrived.length === vars.length && !arrived.equals(await readFile(TEMPLATE));
    });
    expect(await readdir(path.join(kept(two, guest), "tpm"))).toContain("tpm2-00.permall");
    expect(await commands(two, "swtpm")).toHaveLength(1);
    expect(await one.leftovers()).toEqual([]);
    await two.driver.reboot(guest.name, FORCED, NEVER);
    expect((await two.driver.state(guest.name))?.status).toBe("running");
  });

  it("is migrated with both while it is paused, whether it ever goes on or not", async () => {
    const guest = guestWith("paused.example", { uefi: true, vtpm: true });
    await one.driver.writeNonvolatile(guest.uuid, state);
    const [vars, tpm] = [await varsOf(one, guest), await tpmOf(one, guest)];
    await one.driver.start(guest, { paused: true }, NEVER);
    await move(guest, one, two);
    expect((await two.driver.state(guest.name))?.status).toBe("paused");
    await two.driver.stop(guest.name, FORCED, NEVER);
    expect([await varsOf(two, guest), await tpmOf(two, guest)]).toEqual([vars, tpm]);
    await two.driver.removeNonvolatile(guest.uuid);
    for (const each of [one, two]) expect(await each.leftovers()).toEqual([]);
  });

  it("leaves nothing on a node to which it does not come", async () => {
    const guest = guestWith("staying.example", { uefi: true, vtpm: true });
    await one.driver.start(guest, { paused: true }, NEVER);
    const info = await one.driver.migrationInfo(guest.name);
    await two.driver.acceptMigration(guest, { info, address: "127.0.0.1" }, NEVER);
    expect(await commands(two, "swtpm")).toHaveLength(1);
    await two.driver.finishMigrationTarget(guest, false, NEVER);
    expect(await two.leftovers()).toEqual([]);
    expect((await one.driver.state(guest.name))?.status).toBe("paused");
  });

  it("starts with secure boot on q35, and is told that it needs one", async () => {
    const secure = guestWith("secure.example", { uefi: true, secure_boot: true, machine_version: "q35" });
    await one.driver.start(secure, RUNNING, NEVER);
    expect(await readdir(kept(one, secure))).toEqual(["uefi-vars-secure.fd"]);
    const elsewhere = guestWith("pc.example", { uefi: true, secure_boot: true });
    await expect(one.driver.validate(elsewhere)).rejects.toThrow(/secure_boot: .*q35/);
    await expect(one.driver.validate(guestWith("bios.example", { secure_boot: true }))).rejects.toThrow(/needs uefi/);
  });

  it("that cannot start leaves nothing", async () => {
    const guest = guestWith("failing.example", { uefi: true, vtpm: true, kvm_extra: "-no-such-option" });
    await expect(one.driver.start(guest, RUNNING, NEVER)).rejects.toThrow(/qemu did not start/);
    expect(await one.leftovers()).toEqual([]);
  });

  it("takes nothing from elsewhere that no driver has written", async () => {
    const { uuid } = guestWith("strange.example", {});
    await expect(one.driver.writeNonvolatile(uuid, Buffer.from("garbage"))).rejects.toThrow(/cannot be read/);
    await expect(one.driver.removeNonvolatile("../../etc")).rejects.toThrow(/UUID/);
    expect(await one.leftovers()).toEqual([]);
  });
});
