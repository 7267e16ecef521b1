/** All scenarios, and which of them a run is about. */
import type { BareMachines } from "../bare-machines.ts";
import type { Lab } from "../lab.ts";
import type { MachineKindName } from "../machine-kind.ts";
import type { Scenario } from "../scenario.ts";
import type { LabSettings } from "../settings.ts";
import { BY_HAND } from "./by-hand.ts";
import { CLOUD_INIT } from "./cloud-init.ts";
import { CONFORMANCE_SCENARIOS } from "./conformance.ts";
import { DEBOOTSTRAP } from "./debootstrap.ts";
import { DRBD_ESSENCE, DRBD_SCENARIOS } from "./drbd.ts";
import { DRBD_TROUBLE_SCENARIOS } from "./drbd-trouble.ts";
import { FAULT_SCENARIOS } from "./faults.ts";
import { FILE_SCENARIOS } from "./file.ts";
import { PLAIN_SCENARIOS } from "./plain.ts";
import { RECORDED_TOOLS_SCENARIOS } from "./recorded-tools.ts";
import { SYSTEMD_SCENARIOS } from "./systemd.ts";
import { XEN_SCENARIOS } from "./xen.ts";

/** What scenarios run on, by the kind of node they need. */
interface Grounds {
  readonly kvm: Lab;
  readonly xen: Lab;
  readonly systemd: BareMachines;
}

/** The longest of a kind first: what runs side by side then ends together. */
const SCENARIOS: { readonly [Kind in MachineKindName]: readonly Scenario<Grounds[Kind]>[] } = {
  kvm: [
    CLOUD_INIT,
    ...CONFORMANCE_SCENARIOS,
    ...FAULT_SCENARIOS,
    ...DRBD_TROUBLE_SCENARIOS,
    ...DRBD_SCENARIOS,
    ...PLAIN_SCENARIOS,
    DEBOOTSTRAP,
    ...FILE_SCENARIOS,
    ...RECORDED_TOOLS_SCENARIOS,
    BY_HAND,
  ],
  xen: XEN_SCENARIOS,
  systemd: SYSTEMD_SCENARIOS,
};

type Choice = Pick<LabSettings, "scope" | "only">;

/** Those that run on nodes of a kind. */
export function scenariosOf<Kind extends MachineKindName>(
  kind: Kind,
  choice: Choice,
): readonly Scenario<Grounds[Kind]>[] {
  const all: readonly Scenario<Grounds[Kind]>[] = SCENARIOS[kind];
  return all.filter((scenario) => reasonToLeaveOut(scenario, kind, choice) === undefined);
}

/** What each scope is about. */
const IS_PART_OF: Readonly<
  Record<LabSettings["scope"], (scenario: Pick<Scenario, "name">, kind: MachineKindName) => boolean>
> = {
  drivers: ({ name }, kind) => kind !== "systemd" && name !== BY_HAND.name,
  kvm: ({ name }, kind) => kind === "kvm" && name !== BY_HAND.name,
  xen: (_, kind) => kind === "xen",
  figures: ({ name }) => name === BY_HAND.name,
  systemd: (_, kind) => kind === "systemd",
  ci: ({ name }) => name === DRBD_ESSENCE.name,
  all: () => true,
};

/** Names of those that a run is about, and of all others by what leaves them out. */
export function chosenScenarios(choice: Choice): {
  readonly chosen: readonly string[];
  readonly leftOut: readonly { readonly reason: string; readonly names: readonly string[] }[];
} {
  const all = (["kvm", "xen", "systemd"] as const).flatMap((kind) =>
    SCENARIOS[kind].map((scenario) => ({ name: scenario.name, reason: reasonToLeaveOut(scenario, kind, choice) })),
  );
  const byReason = Map.groupBy(all, ({ reason }) => reason);
  const namesOf = (reason: string | undefined) => (byReason.get(reason) ?? []).map(({ name }) => name);
  return {
    chosen: namesOf(undefined),
    leftOut: [...byReason.keys()].flatMap((reason) =>
      reason === undefined ? [] : [{ reason, names: namesOf(reason) }],
    ),
  };
}

function reasonToLeaveOut(
  scenario: Pick<Scenario, "name">,
  kind: MachineKindName,
  { scope, only }: Choice,
): string | undefined {
  if (!scenario.name.includes(only)) return `GANNET_LAB_ONLY is "${only}"`;
  return IS_PART_OF[scope](scenario, kind) ? undefined : `LAB=${scope}`;
}
