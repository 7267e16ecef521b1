/** UEFI firmware as flash memory: its code in unit 0, the instance's variables in unit 1; and the TPM. */
import type { LaunchPlan } from "../launch-plan.ts";
import { escaped, json } from "./argument.ts";

/** Node names, by which the sizes of a running guest's firmware are asked, too. */
export const FIRMWARE_NODES = { code: "firmware-code", vars: "firmware-vars" } as const;
export const TPM_DEVICE = "tpm-crb";

/** What `-machine` is told. */
export function firmwareMachineOptions({ firmware }: Pick<LaunchPlan, "firmware">): readonly string[] {
  if (firmware === null) return [];
  const { code, vars } = FIRMWARE_NODES;
  return [`pflash0=${code}`, `pflash1=${vars}`, ...(firmware.needsSmm ? ["smm=on"] : [])];
}

export function firmwareArgv({ firmware }: Pick<LaunchPlan, "firmware">): readonly string[] {
  if (firmware === null) return [];
  const node = (name: string, filename: string, readOnly: boolean) =>
    json({ driver: "raw", "node-name": name, "read-only": readOnly, file: { driver: "file", filename } });
  return [
    ...["-blockdev", node(FIRMWARE_NODES.code, firmware.code, true)],
    ...["-blockdev", node(FIRMWARE_NODES.vars, firmware.vars, false)],
    // Else an operating system could write the variables past the firmware, and with them what it may boot.
    ...(firmware.needsSmm ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : []),
  ];
}

export function tpmArgv({ tpm, paths }: Pick<LaunchPlan, "tpm" | "paths">): readonly string[] {
  if (tpm === null) return [];
  return [
    ...["-chardev", `socket,id=tpm,path=${escaped(paths.tpmSocket)}`],
    ...["-tpmdev", "emulator,id=tpm,chardev=tpm"],
    ...["-device", json({ driver: TPM_DEVICE, tpmdev: "tpm" })],
  ];
}
