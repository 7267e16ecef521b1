/** Machine, processors, memory, clock and firmware behaviour. */
import type { LaunchPlan } from "../launch-plan.ts";
import { escaped } from "./argument.ts";
import { firmwareMachineOptions } from "./firmware.ts";
import { soundMachineOptions } from "./sound.ts";

export function machineArgv(plan: LaunchPlan): readonly string[] {
  const { guest, params, machine, accelerator } = plan;
  const machineOptions = [
    machine,
    ...(params.acpi ? [] : ["acpi=off"]),
    ...firmwareMachineOptions(plan),
    ...soundMachineOptions(plan),
  ];
  return [
    ...["-name", `guest=${escaped(guest.name)},debug-threads=on`],
    ...["-uuid", guest.uuid],
    ...["-machine", machineOptions.join(",")],
    ...["-accel", accelerator],
    ...(params.cpu_type === "" ? [] : ["-cpu", params.cpu_type]),
    ...["-smp", topology(guest.vcpus, params)],
    ...["-m", `${guest.maxMemoryMib}M`],
    ...(params.mem_path === "" ? [] : ["-mem-path", params.mem_path, "-mem-prealloc"]),
    ...(params.use_localtime ? ["-rtc", "base=localtime"] : []),
    ...(params.reboot_behavior === "exit" ? ["-no-reboot"] : []),
    // It then stays until it is asked how it ended, even by an agent that was away.
    ...(params.user_shutdown ? ["-no-shutdown"] : []),
  ];
}

/** What is 0 is left to qemu, which fills it so that the product is right. */
function topology(vcpus: number, params: LaunchPlan["params"]): string {
  const parts = { sockets: params.cpu_sockets, cores: params.cpu_cores, threads: params.cpu_threads };
  const given = Object.entries(parts).filter(([, count]) => count > 0);
  return [String(vcpus), ...given.map(([part, count]) => `${part}=${count}`)].join(",");
}

/** Booting a kernel of the node directly. */
export function kernelArgv({ params }: LaunchPlan): readonly string[] {
  if (params.kernel_path === "") return [];
  const words = [
    `root=${params.root_path}`,
    params.kernel_args,
    params.serial_console ? `console=ttyS0,${params.serial_speed}` : "",
  ];
  return [
    ...["-kernel", params.kernel_path],
    ...(params.initrd_path === "" ? [] : ["-initrd", params.initrd_path]),
    ...["-append", words.filter((word) => word !== "").join(" ")],
  ];
}
