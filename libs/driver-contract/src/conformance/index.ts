/** What every driver must do, as checks that a test runner (or a lab) runs against any of them. */
export * from "./block-device-conformance.ts";
export type { CheckedNode, ConformanceDriver, HypervisorCheck } from "./hypervisor-check.ts";
export * from "./hypervisor-conformance.ts";
export * from "./hypervisor-hotplug.ts";
export * from "./hypervisor-migration.ts";
export * from "./hypervisor-saving.ts";
