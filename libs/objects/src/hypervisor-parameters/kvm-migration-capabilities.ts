/** The names that kvm's `migration_caps` takes. */

/**
 * - `always`: on in every migration, asked for or not.
 * - `choosable`: on when asked for.
 * - `unused`: asks for a transport, devices or a procedure that no migration here has; left off.
 */
export type MigrationCapabilityUse = "always" | "choosable" | "unused";

/** Those of qemu 2.6 to 10 (qemu-qmp-ref(7), `MigrationCapability`); no one version has all of them. */
export const KVM_MIGRATION_CAPABILITIES: Readonly<Record<string, MigrationCapabilityUse>> = {
  "auto-converge": "always",
  "background-snapshot": "unused",
  block: "unused",
  compress: "unused",
  "dirty-bitmaps": "unused",
  "dirty-limit": "unused",
  events: "always",
  "late-block-activate": "unused",
  "mapped-ram": "unused",
  multifd: "unused",
  "pause-before-switchover": "unused",
  "postcopy-blocktime": "unused",
  "postcopy-preempt": "unused",
  "postcopy-ram": "choosable",
  "rdma-pin-all": "unused",
  "release-ram": "choosable",
  "return-path": "always",
  "switchover-ack": "unused",
  "validate-uuid": "unused",
  "x-colo": "unused",
  "x-ignore-shared": "unused",
  xbzrle: "choosable",
  "zero-blocks": "choosable",
  "zero-copy-send": "unused",
};

/** Of a value of the parameter. */
export function migrationCapabilityNames(value: string): readonly string[] {
  return value.split(":").filter((name) => name !== "");
}

/** In words; undefined when qemu knows all of them. */
export function migrationCapabilitiesProblem(value: string): string | undefined {
  const unknown = migrationCapabilityNames(value).filter((name) => !Object.hasOwn(KVM_MIGRATION_CAPABILITIES, name));
  if (unknown.length === 0) return undefined;
  const choosable = Object.entries(KVM_MIGRATION_CAPABILITIES).flatMap(([name, use]) =>
    use === "choosable" ? [name] : [],
  );
  return `migration_caps: qemu knows no ${unknown.join(", ")}; choose from ${choosable.join(", ")}, with colons`;
}
