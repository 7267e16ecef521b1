/** Screens by TLS and SPICE, sound, USB, agents' ports, confinement, and disks reached without the kernel. */
import { describe, expect, it } from "vitest";
import { confinementArgv } from "../../../src/hypervisors/kvm/argv/confinement.ts";
import { screenArgv } from "../../../src/hypervisors/kvm/argv/consoles.ts";
import { diskArgv } from "../../../src/hypervisors/kvm/argv/drives.ts";
import { agentPortsArgv, usbArgv } from "../../../src/hypervisors/kvm/argv/peripherals.ts";
import { soundArgv } from "../../../src/hypervisors/kvm/argv/sound.ts";
import { deviceSlots, qemuArgv } from "../../../src/hypervisors/kvm/argv.ts";
import type { LaunchPlan, SpiceListener } from "../../../src/hypervisors/kvm/launch-plan.ts";
import { DISK, DISK_ID, planOf } from "./plan-fixture.ts";

const VNC = { kind: "tcp", address: "127.0.0.1", port: 11000, password: false } as const;
const SPICE: SpiceListener = { address: "192.0.2.1", port: 11000, password: true, tls: null };
const BIND = { spice_bind: "192.0.2.1" };

function readable(argv: readonly string[]): readonly unknown[] {
  return argv.map((arg) => (arg.startsWith("{") ? JSON.parse(arg) : arg));
}

describe("VNC over TLS", () => {
  const id = { id: "vnctls0", endpoint: "server" };
  it.each([
    ["nobody's certificate", {}, { "qom-type": "tls-creds-anon", ...id }],
    [
      "the node's certificate",
      { vnc_x509_path: "/etc/x509" },
      { "qom-type": "tls-creds-x509", ...id, dir: "/etc/x509", "verify-peer": false },
    ],
    [
      "certificates of both sides",
      { vnc_x509_path: "/etc/x509", vnc_x509_verify: true },
      { "qom-type": "tls-creds-x509", ...id, dir: "/etc/x509", "verify-peer": true },
    ],
  ])("has %s", (_, params, credentials) => {
    const plan = planOf({ params: { vnc_tls: true, ...params }, plan: { vnc: { ...VNC, password: true } } });
    expect(readable(screenArgv(plan))).toEqual([
      "-object",
      credentials,
      ...["-vnc", "127.0.0.1:5100,tls-creds=vnctls0,password=on", "-vga", "std"],
    ]);
  });
});

describe("SPICE", () => {
  const tls = { certFile: "/spice,1.pem", keyFile: "/spice,1.pem", caFile: "/ca.pem" };
  const cases: readonly (readonly [string, Parameters<typeof planOf>[0], string])[] = [
    ["with a password", { plan: { spice: SPICE } }, "addr=192.0.2.1,port=11000,ipv4=on"],
    [
      "without one, on IPv6",
      { plan: { spice: { ...SPICE, address: "2001:db8::1", password: false } } },
      "addr=2001:db8::1,port=11000,ipv6=on,disable-ticketing=on",
    ],
    [
      "over TLS",
      { plan: { spice: { ...SPICE, tls } }, params: { spice_tls_ciphers: "HIGH" } },
      "addr=192.0.2.1,tls-port=11000,x509-cacert-file=/ca.pem,x509-key-file=/spice,,1.pem," +
        "x509-cert-file=/spice,,1.pem,tls-ciphers=HIGH,ipv4=on",
    ],
    [
      "with everything else set",
      {
        plan: { spice: SPICE },
        params: {
          spice_image_compression: "glz",
          spice_jpeg_wan_compression: "never",
          spice_zlib_glz_wan_compression: "always",
          spice_streaming_video: "filter",
          spice_playback_compression: false,
          spice_use_vdagent: false,
        },
      },
      "addr=192.0.2.1,port=11000,ipv4=on,image-compression=glz,jpeg-wan-compression=never," +
        "zlib-glz-wan-compression=always,streaming-video=filter,playback-compression=off,agent-mouse=off",
    ],
  ];
  it.each(cases)("%s", (_, changes, expected) => {
    const plan = planOf({ ...changes, params: { ...BIND, ...changes.params } });
    expect(screenArgv(plan)).toEqual(["-display", "none", "-spice", expected, "-vga", "qxl"]);
  });

  it("leaves the choice of the card", () => {
    expect(screenArgv(planOf({ params: { ...BIND, vga: "std" }, plan: { spice: SPICE } })).slice(-2)).toEqual([
      "-vga",
      "std",
    ]);
  });
});

describe("sound", () => {
  it.each([
    ["ac97", [{ driver: "AC97", id: "sound", bus: "pci.0", addr: "0xc", audiodev: "audio" }]],
    ["es1370", [{ driver: "ES1370", id: "sound", bus: "pci.0", addr: "0xc", audiodev: "audio" }]],
    ["sb16", [{ driver: "sb16", id: "sound", audiodev: "audio" }]],
    [
      "hda",
      [
        { driver: "intel-hda", id: "sound", bus: "pci.0", addr: "0xc" },
        { driver: "hda-duplex", bus: "sound.0", audiodev: "audio" },
      ],
    ],
  ])("of a %s", (soundhw, devices) => {
    const plan = planOf({ params: { soundhw } });
    expect(readable(soundArgv(plan, deviceSlots(plan)))).toEqual([
      ...["-audiodev", { driver: "none", id: "audio" }],
      ...devices.flatMap((device) => ["-device", device]),
    ]);
  });

  it("goes where the screen is", () => {
    const plan = planOf({ params: { ...BIND, soundhw: "ac97" }, plan: { spice: SPICE } });
    expect(readable(soundArgv(plan, deviceSlots(plan)))[1]).toEqual({ driver: "spice", id: "audio" });
  });

  it("of an unknown card is refused", () => {
    expect(() => qemuArgv(planOf({ params: { soundhw: "ac97,cmi8738" } }))).toThrow(
      /soundhw: cmi8738 is not supported; use some of ac97, .*pcspk, all/,
    );
  });

  it("of several cards has each once, in a place of its own", () => {
    const plan = planOf({ params: { soundhw: "ac97, es1370,ac97,hda,pcspk" } });
    const argv = readable(qemuArgv(plan));
    expect(argv).toContain("pc-i440fx-7.2,pcspk-audiodev=audio");
    expect(readable(soundArgv(plan, deviceSlots(plan))).filter((each) => typeof each === "object")).toEqual([
      { driver: "none", id: "audio" },
      { driver: "AC97", id: "sound", bus: "pci.0", addr: "0xc", audiodev: "audio" },
      { driver: "ES1370", id: "sound1", bus: "pci.0", addr: "0xd", audiodev: "audio" },
      { driver: "intel-hda", id: "sound2", bus: "pci.0", addr: "0xe" },
      { driver: "hda-duplex", bus: "sound2.0", audiodev: "audio" },
    ]);
  });

  it("of the machine's speaker alone needs no card", () => {
    const plan = planOf({ params: { soundhw: "pcspk" } });
    expect(readable(soundArgv(plan, deviceSlots(plan)))).toEqual(["-audiodev", { driver: "none", id: "audio" }]);
  });
});

describe("USB devices", () => {
  it.each([
    [{ usb_mouse: "mouse" }, [{ driver: "usb-mouse" }]],
    [
      { usb_mouse: "tablet", usb_devices: "keyboard,wacom-tablet" },
      [{ driver: "usb-tablet" }, { driver: "usb-kbd" }, { driver: "usb-wacom-tablet" }],
    ],
    [
      { usb_devices: " host:1.12, host:0BDA:8153 " },
      [
        { driver: "usb-host", hostbus: 1, hostaddr: 12 },
        { driver: "usb-host", vendorid: 0x0bda, productid: 0x8153 },
      ],
    ],
  ])("of %j", (params, devices) => {
    expect(readable(usbArgv(planOf({ params })))).toEqual([
      "-usb",
      ...devices.flatMap((device) => ["-device", device]),
    ]);
  });

  it.each(["disk:/etc/passwd", "serial:pty", "host:", "host:1", "tablet,bus=x"])("%j is refused", (usb_devices) => {
    expect(() => qemuArgv(planOf({ params: { usb_devices } }))).toThrow(/usb_devices: .* is not supported/);
  });

  it("there are none by default", () => expect(usbArgv(planOf({}))).toEqual([]));
});

describe("ports of agents in the guest", () => {
  const guestAgent = [
    "-chardev",
    "socket,id=qga,path=/var/lib/gannet/kvm-hypervisor/ctrl/web1.example.qga,server=on,wait=off",
    "-device",
    { driver: "virtserialport", bus: "agents.0", chardev: "qga", name: "org.qemu.guest_agent.0" },
  ];
  const vdagent = [
    ...["-chardev", "spicevmc,id=vdagent,name=vdagent", "-device"],
    { driver: "virtserialport", bus: "agents.0", chardev: "vdagent", name: "com.redhat.spice.0" },
  ];
  const controller = ["-device", { driver: "virtio-serial-pci", id: "agents", bus: "pci.0", addr: "0xc" }];
  it.each([
    ["none", {}, {}, []],
    ["qemu's", { use_guest_agent: true }, {}, [...controller, ...guestAgent]],
    ["SPICE's", BIND, { spice: SPICE }, [...controller, ...vdagent]],
    ["none for SPICE", { ...BIND, spice_use_vdagent: false }, { spice: SPICE }, []],
    ["both", { ...BIND, use_guest_agent: true }, { spice: SPICE }, [...controller, ...vdagent, ...guestAgent]],
  ])("%s", (_, params, changes: Partial<LaunchPlan>, expected) => {
    const plan = planOf({ params, plan: changes });
    expect(readable(agentPortsArgv(plan, deviceSlots(plan)))).toEqual(expected);
  });
});

describe("confinement", () => {
  const runAs = { uid: 4000, gid: 4001 };
  it.each([
    [{}, []],
    [{ runAs }, ["-runas", "4000:4001"]],
    [{ chroot: "/a,b" }, ["-chroot", "/a,b"]],
    [{ runAs, chroot: "/a,b" }, ["-runas", "4000:4001", "-chroot", "/a,b"]],
    [{ runAs, chroot: "/a,b", runWith: true }, ["-run-with", "user=4000:4001,chroot=/a,,b"]],
    [{ chroot: "/a", runWith: true }, ["-run-with", "chroot=/a"]],
    [{ runWith: true }, []],
  ])("of %j", (changes, expected) => {
    expect(confinementArgv(planOf({ plan: changes }))).toEqual(expected);
  });
});

describe("a disk", () => {
  const nodeOf = (disk: Partial<typeof DISK>, params = {}) => {
    const plan = planOf({ guest: { disks: [{ ...DISK, ...disk }] }, params });
    const [, node, , device] = readable(diskArgv(plan, deviceSlots(plan))) as Record<string, unknown>[];
    return { node, device };
  };

  it.each([
    ["rbd:pool/image", { driver: "rbd", pool: "pool", image: "image" }],
    [
      "rbd:pool/space/image:id=gannet:conf=/etc/ceph/b.conf",
      { driver: "rbd", pool: "pool", namespace: "space", image: "image", user: "gannet", conf: "/etc/ceph/b.conf" },
    ],
    [
      "gluster://storage.example:24008/vol/a/b.img",
      {
        driver: "gluster",
        volume: "vol",
        path: "a/b.img",
        server: [{ type: "inet", host: "storage.example", port: "24008" }],
      },
    ],
    [
      "gluster://[2001:db8::1]/vol/b.img",
      {
        driver: "gluster",
        volume: "vol",
        path: "b.img",
        server: [{ type: "inet", host: "2001:db8::1", port: "24007" }],
      },
    ],
  ])("at %s is reached without the kernel", (uri, source) => {
    expect(nodeOf({ uris: { kvm: uri } }).node).toMatchObject({ "node-name": DISK_ID, driver: "raw", file: source });
  });

  it.each(["rbd:pool", "rbd:pool/image:mon_host=x", "nfs://x/y", "/etc/passwd", "json:{}"])(
    "at %s is refused",
    (uri) => {
      expect(() => nodeOf({ uris: { kvm: uri } })).toThrow(/neither rbd nor gluster|option mon_host/);
    },
  );

  it.each([
    ["of one node is cached as asked", {}, false],
    ["that every node sees is never cached here", { seenByAllNodes: true }, true],
    ["of rbd keeps its own library's cache", { seenByAllNodes: true, uris: { kvm: "rbd:pool/image" } }, false],
    ["for another hypervisor's use only is a path here", { uris: { "xen-pvm": "rbd:pool/image" } }, false],
  ])("%s", (_, disk, direct) => {
    const { node, device } = nodeOf(disk, { disk_cache: "writethrough" });
    expect(node).toMatchObject({ cache: { direct } });
    expect(device).toMatchObject({ "write-cache": direct ? "on" : "off" });
  });
});
