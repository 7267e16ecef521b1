/** Guests of each hypervisor as the checks use them: as small as they can be, with what they need on their node. */
import path from "node:path";
import type { BlockDeviceSpec, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS } from "@gannet/objects";
import { FILE_STORAGE_DIR } from "../../../deploy/one-machine/initial-configuration.ts";
import { XEN_IDLE_KERNEL } from "../guest/xen-guest.ts";

export interface GuestKind {
  readonly hypervisor: "kvm" | "xen-pvm" | "xen-hvm" | "lxc" | "chroot";
  readonly hvparams: GuestSpec["hvparams"];
  /** What makes a start of them fail. */
  readonly fault: GuestSpec["hvparams"];
  /** Script that ends the guest `$1`. */
  readonly crash: string;
  /** What a guest cannot do without. All have the same, because there is one at a time. */
  readonly disk?: BlockDeviceSpec;
  /** Scripts that make what guests need on the node, and take it away. */
  readonly prepare?: string;
  readonly clear?: string;
  /** Script that prints what belongs to guests: processes or domains, and files but the driver's own. */
  readonly leftovers: string;
}

const KVM_FOLDER = "/var/lib/gannet/kvm-hypervisor";

export const KVM_GUESTS: GuestKind = {
  hypervisor: "kvm",
  hvparams: HYPERVISOR_DEFAULTS.kvm,
  fault: { kvm_extra: "-device no-such-device" },
  crash: `kill -KILL $(cat ${KVM_FOLDER}/pid/$1)`,
  leftovers: `pgrep -a qemu-system
find ${KVM_FOLDER} -type f -o -type s | grep -v acceleration-test
true`,
};

const XEN_FOLDERS = "/var/lib/gannet/xen-hypervisor /var/run/ganeti/instance-disks /var/run/ganeti/xen-hypervisor";
const XEN_LEFTOVERS = `xl list | tail -n +2 | grep -v ^Domain-0
pgrep -a qemu-system
find ${XEN_FOLDERS} -type f -o -type l 2>/dev/null
true`;
/** What guests other than PV need where the processor's virtualisation is itself emulated. */
export const UNDER_EMULATION = { tsc_mode: "native", cpuid: "host,rdtscp=0" } as const;

export const XEN_PVM_GUESTS: GuestKind = {
  hypervisor: "xen-pvm",
  hvparams: {
    ...HYPERVISOR_DEFAULTS["xen-pvm"],
    ...{ kernel_path: XEN_IDLE_KERNEL, initrd_path: "", root_path: "", kernel_args: "" },
  },
  fault: { kernel_path: "/etc/hostname" },
  crash: "xl destroy $1",
  leftovers: XEN_LEFTOVERS,
};

/** Their firmware finds nothing to boot from, and waits. */
export const XEN_HVM_GUESTS: GuestKind = {
  hypervisor: "xen-hvm",
  hvparams: {
    ...HYPERVISOR_DEFAULTS["xen-hvm"],
    ...UNDER_EMULATION,
    // Debian's qemu for Xen is built without the cipher of VNC's passwords, and ends when it is given one.
    vnc_bind_address: "",
  },
  fault: { device_model: "/etc/hostname" },
  crash: "xl destroy $1",
  leftovers: XEN_LEFTOVERS,
};

/** Script that makes the file of a {@link systemDisk}; `init` is one that makes /sbin/init in the present folder. */
function makeSystem(image: string, init: string): string {
  return `mkdir -p ${path.dirname(image)} /run/system
cd /run/system && mkdir -p bin sbin proc sys dev etc tmp
cp /bin/busybox bin/ && ln -s busybox bin/sh && ln -s busybox bin/sleep && ln -s busybox bin/cat
${init}
chmod 755 sbin/*
mke2fs -q -t ext4 -d /run/system ${image} 16M
cd / && rm -r /run/system`;
}

function systemDisk(image: string): BlockDeviceSpec {
  return {
    uuid: "0c0ffee0-4e5f-4d8e-9b0a-1c2d3e4f5a6b",
    template: "file",
    logicalId: ["loop", image],
    sizeMib: 16,
    mode: "rw",
    instanceName: "conformance.example",
    index: 0,
    params: {},
    children: [],
  };
}

const LXC_FOLDER = "/var/lib/gannet/lxc-hypervisor";
const LXC_ROOT = `${FILE_STORAGE_DIR}/conformance-lxc/root`;
const UNCONFINED = "lxc.apparmor.profile = unconfined";

/** Their system is a few programs, and an init that ends when it is asked to. */
export const LXC_GUESTS: GuestKind = {
  hypervisor: "lxc",
  // The nodes' kernel shows AppArmor where lxc looks for it only in part.
  hvparams: { ...HYPERVISOR_DEFAULTS.lxc, extra_config: UNCONFINED },
  fault: { extra_config: `${UNCONFINED},lxc.init.cmd = /nosuch` },
  disk: systemDisk(LXC_ROOT),
  prepare: makeSystem(LXC_ROOT, `printf '#!/bin/sh\\ntrap "exit 0" PWR\\nwhile :; do sleep 0.1; done\\n' >sbin/init`),
  clear: `rm -rf ${path.dirname(LXC_ROOT)} ${LXC_FOLDER}/containers`,
  crash: `lxc-stop -n $1 -P ${LXC_FOLDER}/containers --kill`,
  leftovers: `pgrep -fa 'lxc monitor'
grep ${LXC_FOLDER} /proc/mounts
find ${LXC_FOLDER} -type f
true`,
};

const CHROOT_FOLDER = "/var/lib/gannet/chroot-hypervisor";
const CHROOT_ROOT = `${FILE_STORAGE_DIR}/conformance-chroot/root`;

/** Their script starts one process that goes on, and ends it. */
export const CHROOT_GUESTS: GuestKind = {
  hypervisor: "chroot",
  hvparams: { ...HYPERVISOR_DEFAULTS.chroot, init_script: "/sbin/init" },
  fault: { init_script: "/sbin/broken" },
  disk: systemDisk(CHROOT_ROOT),
  prepare: makeSystem(
    CHROOT_ROOT,
    `cat >sbin/init <<'end'
#!/bin/sh
case $1 in
  start) sleep 100000 >/dev/null 2>&1 </dev/null & echo $! >/pid ;;
  stop) kill $(cat /pid) ;;
esac
end
printf '#!/bin/sh\\nexit 7\\n' >sbin/broken
mknod -m 666 dev/null c 1 3`,
  ),
  clear: `rm -rf ${path.dirname(CHROOT_ROOT)}`,
  crash: `fuser -k -KILL -M -s -m ${CHROOT_FOLDER}/root/$1
umount ${CHROOT_FOLDER}/root/$1`,
  leftovers: `pgrep -fa '^sleep 100000'
grep ${CHROOT_FOLDER} /proc/mounts
find ${CHROOT_FOLDER} -type f
true`,
};

export function bareGuest(
  name: string,
  { hypervisor, hvparams }: Pick<GuestKind, "hypervisor" | "hvparams">,
): GuestSpec {
  const hex = Buffer.from(name).toString("hex").padEnd(32, "0").slice(-32);
  return {
    name,
    uuid: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-"),
    hypervisor,
    maxMemoryMib: 32,
    startMemoryMib: 32,
    vcpus: 1,
    disks: [],
    nics: [],
    hvparams,
    networkPort: null,
  };
}
