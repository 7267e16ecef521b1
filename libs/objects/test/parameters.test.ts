import { readFileSync } from "node:fs";
import { OpPrereqError, TypeEnforcementError } from "@gannet/errors";
import type { HypervisorName, Parameters } from "@gannet/objects";
import {
  BACKEND_PARAMETERS,
  checkBackendParameters,
  checkHypervisorParameters,
  checkNicParameters,
  defaultsOf,
  enforceHypervisorTypes,
  enforceTypes,
  GLOBAL_HYPERVISOR_PARAMETERS,
  HYPERVISOR_DEFAULTS,
  HYPERVISOR_PARAMETERS,
  HYPERVISORS,
  NODE_PARAMETERS,
  newBackendParameters,
  refuseGlobalParameters,
  updateBackendParameters,
  updateHypervisorParameters,
} from "@gannet/objects";
import { describe, expect, it } from "vitest";

type SpecRow = [type: string, value: unknown, more?: { req?: true; global?: true; enum?: string[] }];
const SPEC = JSON.parse(
  readFileSync(new URL("./fixtures/hypervisor-parameters.json", import.meta.url), "utf8"),
) as Record<HypervisorName, Record<string, SpecRow>>;

/** Where the tables differ from Ganeti on purpose. */
const OWN_DEFAULTS: Record<string, unknown> = { "kvm/kernel_path": "" };
const OWN_NAMES: Partial<Record<HypervisorName, readonly string[]>> = {
  kvm: ["secure_boot", "uefi", "vtpm"],
  "xen-pvm": ["guest_type", "tsc_mode", "xen_cmd"],
  "xen-hvm": ["tsc_mode", "xen_cmd"],
};
const REQUIRED_BY_CROSS_CHECK = "xen-pvm/kernel_path";

describe("hypervisor parameter tables", () => {
  it.each(HYPERVISORS)("%s has Ganeti's names, types, defaults, words and globals", (hypervisor) => {
    const table = HYPERVISOR_PARAMETERS[hypervisor];
    const names = [...Object.keys(SPEC[hypervisor]), ...(OWN_NAMES[hypervisor] ?? [])];
    expect(Object.keys(table).sort()).toEqual(names.sort());
    for (const [name, [type, value, more]] of Object.entries(SPEC[hypervisor])) {
      const definition = table[name];
      const key = `${hypervisor}/${name}`;
      expect(definition?.type, key).toBe(type);
      expect(definition?.default, key).toEqual(key in OWN_DEFAULTS ? OWN_DEFAULTS[key] : value);
      expect(definition?.global ?? false, key).toBe(more?.global ?? false);
      if (more?.enum) expect([...(definition?.choices ?? [])].sort(), key).toEqual([...more.enum].sort());
      if (key !== REQUIRED_BY_CROSS_CHECK) expect(definition?.required ?? false, key).toBe(more?.req ?? false);
    }
  });

  it.each(HYPERVISORS)("%s accepts its own defaults", (hypervisor) => {
    const defaults = HYPERVISOR_DEFAULTS[hypervisor];
    expect(() => checkHypervisorParameters(hypervisor, defaults)).not.toThrow();
    expect(enforceHypervisorTypes(hypervisor, defaults)).toEqual(defaults);
  });

  it("knows the cluster's own", () => {
    expect([...GLOBAL_HYPERVISOR_PARAMETERS].sort()).toEqual([
      "migration_bandwidth",
      "migration_mode",
      "migration_port",
      "xen_cmd",
    ]);
    expect(() => refuseGlobalParameters({ acpi: true, migration_mode: "live" })).toThrow(/migration_mode/);
  });
});

describe("types", () => {
  it("reads text as what its parameter is", () => {
    expect(
      enforceHypervisorTypes("kvm", { acpi: "False", cpu_cores: "4", kernel_args: "ro quiet", root_path: null }),
    ).toEqual({ acpi: false, cpu_cores: 4, kernel_args: "ro quiet", root_path: null });
    expect(enforceTypes("x", BACKEND_PARAMETERS, { maxmem: "1g", vcpus: 2 })).toEqual({ maxmem: 1024, vcpus: 2 });
    expect(enforceTypes("x", NODE_PARAMETERS, { cpu_speed: "1.5" })).toEqual({ cpu_speed: 1.5 });
  });

  it.each<Record<string, unknown>>([
    { nosuch: 1 },
    { constructor: 1 },
    JSON.parse('{"__proto__": 1}'),
    { acpi: "maybe" },
    { acpi: null },
    { cpu_cores: "many" },
    { cpu_cores: 1.5 },
    { cpu_cores: true },
    { cpu_cores: 2 ** 60 },
    { kernel_args: 5 },
    { kernel_args: "a\u0000b" },
    { kernel_args: "a\nb" },
    { kernel_args: "x".repeat(20_000) },
    { kernel_args: { a: 1 } },
  ])("refuses %j", (values) => {
    expect(() => enforceHypervisorTypes("kvm", values)).toThrow(TypeEnforcementError);
  });

  it("names the parameter and the value in its refusal", () => {
    expect(() => enforceTypes("backend parameter", BACKEND_PARAMETERS, { vcpus: "many" })).toThrow(
      `backend parameter 'vcpus' (value "many") is not a valid integer`,
    );
  });
});

describe("checkHypervisorParameters", () => {
  const kvm = (own: Parameters) => () => checkHypervisorParameters("kvm", { ...HYPERVISOR_DEFAULTS.kvm, ...own });

  it.each<[Parameters, RegExp]>([
    [{ disk_type: "floppy" }, /disk_type.*paravirtual/],
    [{ disk_type: "" }, /disk_type.*must not be empty/],
    [{ cpu_cores: -1 }, /at least 0/],
    [{ migration_port: 65_535 }, /at most 65534/],
    [{ cdrom_image_path: "images/a.iso" }, /absolute path/],
    [{ initrd_path: "/boot/../etc/shadow" }, /absolute path/],
    [{ vnc_bind_address: "bad address" }, /IP address/],
    [{ kernel_path: "/boot/vmlinuz", root_path: "" }, /kernel_path needs root_path/],
    [{ kernel_path: "/boot/vmlinuz", root_path: null }, /kernel_path needs root_path/],
    [{ boot_order: "cdrom" }, /needs cdrom_image_path/],
    [{ serial_speed: 1234 }, /serial_speed 1234/],
    [{ disk_aio: "native" }, /disk_cache none/],
    [
      { migration_caps: "xbzrle:xbzlre:postcopy" },
      /qemu knows no xbzlre, postcopy; choose from postcopy-ram, .*xbzrle/,
    ],
    [{ nosuch: 1 }, /not known/],
  ])("refuses %j", (own, message) => {
    expect(kvm(own)).toThrow(OpPrereqError);
    expect(kvm(own)).toThrow(message);
  });

  it.each<Parameters>([
    { cdrom_image_path: "https://images.example/a.iso", boot_order: "cdrom" },
    { cdrom_disk_type: "" },
    { vnc_bind_address: "::1" },
    { vnc_bind_address: "/run/vnc.sock" },
    { vnc_bind_address: "eth0" },
    { kernel_path: "/boot/vmlinuz", initrd_path: "/boot/initrd", kernel_args: "console=ttyS0" },
    { serial_console: false, serial_speed: 1234 },
    { disk_aio: "native", disk_cache: "none" },
    { migration_bandwidth: 0 },
    { migration_caps: "events:xbzrle:multifd:compress" },
    { cpu_mask: "0-1:all:3" },
    { security_model: "pool", use_chroot: true },
    { spice_bind: "127.0.0.1", spice_use_vdagent: false, spice_use_tls: true },
    { soundhw: "ac97", usb_devices: "tablet", use_guest_agent: true, user_shutdown: true },
    { virtio_net_queues: 2, vnet_hdr: false },
    { vnc_tls: true, vnc_x509_path: "/etc/x509", vnc_x509_verify: true },
  ])("accepts %j", (own) => {
    expect(kvm(own)).not.toThrow();
  });

  it("tells all problems at once", () => {
    expect(kvm({ cpu_cores: -1, disk_cache: "fast" })).toThrow(/cpu_cores.*; .*disk_cache/s);
  });

  it("lets a pvm guest have no kernel only where its boot loader is used", () => {
    const pvm = (own: Parameters) => () =>
      checkHypervisorParameters("xen-pvm", { ...HYPERVISOR_DEFAULTS["xen-pvm"], ...own });
    expect(pvm({ kernel_path: "" })).toThrow(/use_bootloader/);
    expect(pvm({ kernel_path: "", use_bootloader: true })).not.toThrow();
    expect(pvm({ cpu_mask: "0-2,4:all" })).not.toThrow();
    expect(pvm({ cpu_mask: "2-0" })).toThrow(/cpu_mask/);
  });
});

describe("changes", () => {
  it("sets, keeps and goes back to what is inherited", () => {
    expect(updateHypervisorParameters("kvm", { acpi: false, vga: "std" }, { acpi: "default", cpu_cores: "2" })).toEqual(
      {
        vga: "std",
        cpu_cores: 2,
      },
    );
    expect(() => updateHypervisorParameters("kvm", {}, { nosuch: "default" })).toThrow(TypeEnforcementError);
  });
});

describe("backend parameters", () => {
  const inherited = defaultsOf(BACKEND_PARAMETERS);

  it("takes the older name for memory", () => {
    expect(newBackendParameters({ memory: "1g" }, inherited)).toEqual({ minmem: 1024, maxmem: 1024 });
    expect(newBackendParameters({ memory: 512, minmem: 256 }, inherited)).toEqual({ minmem: 256, maxmem: 512 });
  });

  it("takes back everything that an instance shows", () => {
    const shown = { ...inherited, minmem: 64, maxmem: 256, memory: 256 };
    expect(updateBackendParameters({}, shown, inherited)).toEqual({ ...inherited, minmem: 64, maxmem: 256 });
  });

  it("refuses two different memories", () => {
    expect(() => newBackendParameters({ memory: 128, maxmem: 256 }, inherited)).toThrow(/contradict/);
    expect(newBackendParameters({ memory: "1g", maxmem: 1024 }, inherited).maxmem).toBe(1024);
  });

  it("knows auto and default", () => {
    expect(newBackendParameters({ vcpus: "auto", maxmem: "default" }, { ...inherited, vcpus: 3 })).toEqual({
      vcpus: 3,
    });
    expect(updateBackendParameters({ minmem: 64, maxmem: 256 }, { memory: "default" }, inherited)).toEqual({});
  });

  it.each<[Parameters, RegExp]>([
    [{ minmem: 256, maxmem: 128 }, /minmem 256 is more than maxmem 128/],
    [{ vcpus: 0 }, /vcpus.*at least 1/],
    [{ maxmem: 0, minmem: 0 }, /maxmem.*at least 1/],
  ])("refuses %j", (own, message) => {
    expect(() => checkBackendParameters({ ...inherited, ...own })).toThrow(message);
  });
});

describe("NIC parameters", () => {
  const nic = (mode: string, link: string, vlan = "", ip: string | null = null) => {
    return () => checkNicParameters({ mode, link, vlan }, ip);
  };

  it.each([
    nic("bridged", "xen-br0"),
    nic("openvswitch", "switch1", ".10:20:30"),
    nic("openvswitch", "switch1", ":10"),
    nic("routed", "100", "", "198.51.100.4"),
    nic("routed", "", "", "198.51.100.4"),
  ])("accepts what works: %#", (check) => {
    expect(check).not.toThrow();
  });

  it.each([
    [nic("bridged", ""), /link/],
    [nic("bridged", "../../etc"), /link/],
    [nic("bridged", "-oops"), /link/],
    [nic("bridged", "a-name-too-long-for-linux"), /link/],
    [nic("routed", "100"), /IP address/],
    [nic("routed", "a b", "", "198.51.100.4"), /routing table/],
    [nic("pool", "x"), /mode/],
    [nic("constructor", "x"), /mode/],
    [nic("openvswitch", "s", "10,20"), /vlan/],
  ])("refuses what cannot: %#", (check, message) => {
    expect(check).toThrow(message);
  });
});
