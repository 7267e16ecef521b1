/** Hypervisor parameters: the tables of all hypervisors, and the checks that need nothing but the values. */
import { OpPrereqError } from "@gannet/errors";
import { CHROOT_PARAMETERS, FAKE_PARAMETERS, LXC_PARAMETERS } from "./hypervisor-parameters/container.ts";
import { KVM_PARAMETERS, SERIAL_SPEEDS } from "./hypervisor-parameters/kvm.ts";
import {
  KVM_MIGRATION_CAPABILITIES,
  migrationCapabilitiesProblem,
  migrationCapabilityNames,
} from "./hypervisor-parameters/kvm-migration-capabilities.ts";
import { XEN_HVM_PARAMETERS, XEN_PVM_PARAMETERS } from "./hypervisor-parameters/xen.ts";
import { isIpv4, isIpv6 } from "./ip-address.ts";
import type { Parameters } from "./model.ts";
import type { HypervisorName } from "./names.ts";
import type { ParameterTable } from "./parameter-table.ts";
import { defaultsOf, enforceTypes, parameterProblems, refuseProblems, updateParameters } from "./parameter-table.ts";

export type { MigrationCapabilityUse } from "./hypervisor-parameters/kvm-migration-capabilities.ts";
export { KVM_MIGRATION_CAPABILITIES, migrationCapabilityNames, SERIAL_SPEEDS };

export const HYPERVISOR_PARAMETERS: Readonly<Record<HypervisorName, ParameterTable>> = {
  chroot: CHROOT_PARAMETERS,
  fake: FAKE_PARAMETERS,
  kvm: KVM_PARAMETERS,
  lxc: LXC_PARAMETERS,
  "xen-hvm": XEN_HVM_PARAMETERS,
  "xen-pvm": XEN_PVM_PARAMETERS,
};

/** The lowest level of inheritance: every parameter of each hypervisor. */
export const HYPERVISOR_DEFAULTS: Readonly<Record<HypervisorName, Parameters>> = {
  chroot: defaultsOf(CHROOT_PARAMETERS),
  fake: defaultsOf(FAKE_PARAMETERS),
  kvm: defaultsOf(KVM_PARAMETERS),
  lxc: defaultsOf(LXC_PARAMETERS),
  "xen-hvm": defaultsOf(XEN_HVM_PARAMETERS),
  "xen-pvm": defaultsOf(XEN_PVM_PARAMETERS),
};

/** Hypervisors whose guests can move to another node while they run or are stopped. */
export const CAN_MIGRATE: Readonly<Record<HypervisorName, boolean>> = {
  chroot: false,
  fake: true,
  kvm: true,
  lxc: false,
  "xen-hvm": true,
  "xen-pvm": true,
};

/** Hypervisors whose guests can have a machine that keeps something while it is off: UEFI variables, a TPM. */
export const KEEPS_NONVOLATILE: Readonly<Record<HypervisorName, boolean>> = {
  chroot: false,
  fake: false,
  kvm: true,
  lxc: false,
  "xen-hvm": false,
  "xen-pvm": false,
};

/** Parameters that only the cluster sets; instances neither set nor show them. */
export const GLOBAL_HYPERVISOR_PARAMETERS: ReadonlySet<string> = new Set(
  Object.values(HYPERVISOR_PARAMETERS).flatMap((table) =>
    Object.entries(table).flatMap(([name, definition]) => (definition.global ? [name] : [])),
  ),
);

/**
 * Hypervisor parameters as sent by a client, with the types of their table.
 * @throws TypeEnforcementError on an unknown name or a wrong type
 */
export function enforceHypervisorTypes(
  hypervisor: HypervisorName,
  values: Readonly<Record<string, unknown>>,
): Parameters {
  return enforceTypes(`${hypervisor} parameter`, HYPERVISOR_PARAMETERS[hypervisor], values);
}

/**
 * One level's own parameters after a change; `"default"` goes back to what is inherited.
 * @throws TypeEnforcementError
 */
export function updateHypervisorParameters(
  hypervisor: HypervisorName,
  current: Parameters,
  changes: Readonly<Record<string, unknown>>,
): Parameters {
  return updateParameters(`${hypervisor} parameter`, HYPERVISOR_PARAMETERS[hypervisor], current, changes);
}

/** @throws OpPrereqError `wrong_input` when an instance would set what only the cluster can */
export function refuseGlobalParameters(changes: Readonly<Record<string, unknown>>): void {
  const globals = Object.keys(changes).filter((name) => GLOBAL_HYPERVISOR_PARAMETERS.has(name));
  if (globals.length > 0)
    throw new OpPrereqError(
      `An instance cannot have its own value of ${globals.join(", ")}; set it for the cluster`,
      "wrong_input",
    );
}

/**
 * Check complete parameters as far as is possible without a node: values, their forms, and what they
 * mean together. Files, versions and users are the node's to check.
 * @throws OpPrereqError `wrong_input` that lists every problem
 */
export function checkHypervisorParameters(hypervisor: HypervisorName, filled: Parameters): void {
  refuseProblems([
    ...parameterProblems(`${hypervisor} parameter`, HYPERVISOR_PARAMETERS[hypervisor], filled),
    ...CROSS_CHECKS[hypervisor].flatMap((check) => check(filled) ?? []),
  ]);
}

type CrossCheck = (values: Parameters) => string | undefined;

/** `kernel_path needs root_path`, and the like: the first, when set, needs the second to be set. */
function needs(name: string, needed: string): CrossCheck {
  return (values) => (values[name] && !values[needed] ? `${name} needs ${needed}` : undefined);
}

const SPICE_OPTIONS = [
  "spice_ip_version",
  "spice_password_file",
  "spice_image_compression",
  "spice_jpeg_wan_compression",
  "spice_zlib_glz_wan_compression",
  "spice_streaming_video",
  "spice_use_tls",
];

/** spec/config.json, `hv_cross_checks`; what can only be told on a node is left to the node. */
const CROSS_CHECKS: Readonly<Record<HypervisorName, readonly CrossCheck[]>> = {
  chroot: [],
  fake: [],
  lxc: [],
  kvm: [
    (values) =>
      values.boot_order === "cdrom" && !values.cdrom_image_path ? "boot_order cdrom needs cdrom_image_path" : undefined,
    needs("kernel_path", "root_path"),
    needs("secure_boot", "uefi"),
    (values) =>
      values.serial_console && !SERIAL_SPEEDS.includes(Number(values.serial_speed))
        ? `serial_speed ${values.serial_speed} is not one of ${SERIAL_SPEEDS.join(", ")}`
        : undefined,
    (values) =>
      values.disk_aio === "native" && values.disk_cache !== "none"
        ? "disk_aio native needs disk_cache none"
        : undefined,
    (values) => migrationCapabilitiesProblem(String(values.migration_caps ?? "")),
    needs("vnc_x509_verify", "vnc_x509_path"),
    (values) =>
      values.security_model === "user" && !values.security_domain
        ? "security_model user needs security_domain"
        : undefined,
    (values) =>
      values.security_model !== "user" && values.security_domain
        ? `security_domain must be empty with security_model ${values.security_model}`
        : undefined,
    (values) => (values.spice_bind && values.vnc_bind_address ? "SPICE and VNC exclude each other" : undefined),
    (values) => spiceAddressProblem(String(values.spice_bind ?? ""), values.spice_ip_version),
    ...SPICE_OPTIONS.map((option) => needs(option, "spice_bind")),
  ],
  "xen-hvm": [],
  "xen-pvm": [
    (values) =>
      !values.use_bootloader && !values.kernel_path ? "kernel_path must be set unless use_bootloader is" : undefined,
  ],
};

function spiceAddressProblem(bind: string, version: Parameters[string] | undefined): string | undefined {
  if ((version === 4 && isIpv6(bind)) || (version === 6 && isIpv4(bind)))
    return `spice_bind ${bind} is no IPv${version} address, as spice_ip_version asks`;
  return undefined;
}
