/** Whether a guest may go from one version of a hypervisor to another (spec/node-ops.json, `migration_rule`). Pure. */
import type { HypervisorName } from "@gannet/objects";

type Fits = (from: readonly number[], to: readonly number[]) => boolean;

/** Forwards only: a newer qemu knows the machine types of older ones. */
const notOlder: Fits = ([fromMajor = 0, fromMinor = 0], [toMajor = 0, toMinor = 0]) =>
  toMajor > fromMajor || (toMajor === fromMajor && toMinor >= fromMinor);
/** The same, or one minor version later. */
const sameOrNext: Fits = ([fromMajor = 0, fromMinor = 0], [toMajor = 0, toMinor = 0]) =>
  toMajor === fromMajor && (toMinor === fromMinor || toMinor === fromMinor + 1);

const RULES: Readonly<Partial<Record<HypervisorName, Fits>>> = {
  kvm: notOlder,
  "xen-pvm": sameOrNext,
  "xen-hvm": sameOrNext,
};

/** Unknown versions fit: what a node does not tell is no reason to refuse. */
export function fitsForMigration(hypervisor: HypervisorName, from: string, to: string): boolean {
  const [a, b] = [numbersOf(from), numbersOf(to)];
  if (from === to || a.length === 0 || b.length === 0) return true;
  return RULES[hypervisor]?.(a, b) ?? false;
}

/** `QEMU emulator version 7.2.15` and `4.17.3` alike. */
function numbersOf(version: string): readonly number[] {
  const [match] = /\d+(\.\d+)+/.exec(version) ?? [];
  return match === undefined ? [] : match.split(".").map(Number);
}
