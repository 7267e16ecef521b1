/** What a node's machine starts: Linux, which runs guests under KVM, or Xen with Linux as its domain 0. */
import type { HypervisorName } from "@gannet/objects";
import type { NodeImage } from "./image/build.ts";
import type { ImageRecipe } from "./image/recipe.ts";

export type MachineKindName = "kvm" | "xen";

export interface MachineKind {
  readonly image: ImageRecipe["name"];
  readonly hypervisors: readonly HypervisorName[];
  readonly memoryMib: number;
  readonly cpu: string;
  /** Of qemu, to boot with the kernel's arguments. */
  readonly boot: (files: NodeImage & { readonly initramfs: string }, kernelArguments: string) => readonly string[];
}

/** A node's kernel, agent, and a guest or two of 32 MiB. The emulated processor has AMD's virtualisation (SVM). */
const KVM: MachineKind = {
  image: "base",
  hypervisors: ["kvm"],
  memoryMib: 768,
  cpu: "max",
  boot: ({ kernel, initramfs }, kernelArguments) => [
    ...["-kernel", kernel, "-initrd", initramfs],
    ...["-append", `console=ttyS0 ${kernelArguments}`],
  ],
};

const DOMAIN_0_MIB = 640;

/** Domain 0 crashes on the newest processor that qemu emulates; on this one guests of every kind start. */
const XEN: MachineKind = {
  image: "xen",
  hypervisors: ["xen-pvm"],
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

export const MACHINE_KINDS: Readonly<Record<MachineKindName, MachineKind>> = { kvm: KVM, xen: XEN };
