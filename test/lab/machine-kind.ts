/**
 * What a node's machine starts: Linux, which runs guests under KVM, or Xen with Linux as its domain 0, both with the lab's
 * own init; or a Debian with systemd, on which nothing of Gannet is yet.
 */
import type { HypervisorName } from "@gannet/objects";
import type { NodeImage } from "./image/build.ts";
import type { ImageRecipe } from "./image/recipe.ts";

export type MachineKindName = "kvm" | "xen" | "systemd";

export interface DiskPlan {
  readonly name: string;
  readonly sizeMib: number;
  readonly fileSystem: boolean;
}

export interface MachineKind {
  readonly image: ImageRecipe["name"];
  readonly hypervisors: readonly HypervisorName[];
  /** How many of them a lab has. */
  readonly nodes: number;
  readonly memoryMib: number;
  readonly cpu: string;
  /** Disks in the order in which a node sees them after its root: `/dev/vdb`, … */
  readonly disks: readonly DiskPlan[];
  /** Those of {@link disks} that are, or are to be, the physical volumes of its volume group. */
  readonly physicalVolumes: readonly string[];
  /** Of qemu, to boot with the kernel's arguments. */
  readonly boot: (files: NodeImage & { readonly initramfs: string }, kernelArguments: string) => readonly string[];
}

/**
 * A node's kernel, agent, and a guest or two of 32 MiB. The emulated processor has AMD's virtualisation (SVM), and lacks
 * what makes programs choose code that is slow to emulate: strings by the byte (ERMS), vectors, and protection from its
 * own kernel. It has one processor: of nodes with two, three of 45 stood still for ever, both processors busy, when they
 * started a guest. The kernel believes the processor's clock (TSC), which emulation reads from the real one: the other
 * clock, HPET, costs a fifth of all that Node does.
 */
const KVM: MachineKind = {
  image: "base",
  hypervisors: ["kvm", "lxc", "chroot"],
  nodes: 3,
  memoryMib: 768,
  cpu: "max,-erms,-fsrm,-avx,-avx2,-xsave,-smap,-smep,-pku,-umip",
  disks: [
    /** What survives a power cut: state of the agent, files of instances. */
    { name: "kept", sizeMib: 2048, fileSystem: true },
    { name: "first-volume", sizeMib: 4096, fileSystem: false },
    /** There to be lost. */
    { name: "second-volume", sizeMib: 512, fileSystem: false },
  ],
  physicalVolumes: ["/dev/vdc", "/dev/vdd"],
  boot: ({ kernel, initramfs }, kernelArguments) => [
    ...["-kernel", kernel, "-initrd", initramfs],
    ...["-append", `console=ttyS0 clocksource=tsc tsc=reliable ${kernelArguments}`],
  ],
};

const DOMAIN_0_MIB = 640;

/** Domain 0 crashes on the newest processor that qemu emulates; on this one guests of every kind start. */
const XEN: MachineKind = {
  ...KVM,
  image: "xen",
  hypervisors: ["xen-pvm", "xen-hvm"],
  nodes: 2,
  memoryMib: 1200,
  cpu: "Opteron_G3,+npt,+svm,-misalignsse",
  boot: ({ kernel, initramfs, xen }, kernelArguments) => [
    ...["-kernel", xen],
    "-append",
    [
      ...["console=com1", "com1=115200,8n1", "loglvl=warning", "guest_loglvl=warning"],
      ...[`dom0_mem=${DOMAIN_0_MIB}M,max:${DOMAIN_0_MIB}M`, "xpti=0", "spec-ctrl=no", "smt=0"],
    ].join(" "),
    "-initrd",
    `${kernel} console=hvc0 ${kernelArguments},${initramfs}`,
  ],
};

/** What it keeps is on its root. */
const SYSTEMD: MachineKind = {
  ...KVM,
  image: "systemd",
  nodes: 2,
  disks: [{ name: "volume", sizeMib: 1024, fileSystem: false }],
  physicalVolumes: ["/dev/vdb"],
};

export const MACHINE_KINDS: Readonly<Record<MachineKindName, MachineKind>> = { kvm: KVM, xen: XEN, systemd: SYSTEMD };
