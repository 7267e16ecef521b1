/** What every driver must do, as checks that a test runner (or a lab) runs against any of them. */
export * from "./block-device-conformance.ts";
export * from "./hypervisor-conformance.ts";
