export * from "./abilities.ts";
export * from "./block-device-driver.ts";
export * from "./guest.ts";
export * from "./hypervisor-driver.ts";
