/** The plans that the remote API gives, each computed from the cluster as allocators read it. */
import {
  type AllocatorCluster,
  type BalanceOptions,
  balancePlan,
  type CapacityOptions,
  capacity,
  type GroupBalance,
  type GroupCapacity,
  type InstanceRepair,
  type RebootGroup,
  type RebootOptions,
  type RepairOptions,
  rebootGroups,
  repairPlan,
  type SqueezeOptions,
  type SqueezePlan,
  squeezePlan,
} from "@gannet/allocator";

interface PlanTypes {
  readonly balance: { readonly options: BalanceOptions; readonly plan: readonly GroupBalance[] };
  readonly capacity: { readonly options: CapacityOptions; readonly plan: readonly GroupCapacity[] };
  readonly reboots: { readonly options: RebootOptions; readonly plan: readonly RebootGroup[] };
  readonly squeeze: { readonly options: SqueezeOptions; readonly plan: SqueezePlan };
  readonly repairs: { readonly options: RepairOptions; readonly plan: readonly InstanceRepair[] };
}
export type PlanKind = keyof PlanTypes;
export type PlanOptions<Kind extends PlanKind> = PlanTypes[Kind]["options"];
export type Plan<Kind extends PlanKind> = PlanTypes[Kind]["plan"];

/** What a planning thread is given. */
export interface PlanOrder<Kind extends PlanKind = PlanKind> {
  readonly kind: Kind;
  readonly cluster: AllocatorCluster;
  readonly options: PlanOptions<Kind>;
}

const PLANS: { readonly [Kind in PlanKind]: (cluster: AllocatorCluster, options: PlanOptions<Kind>) => Plan<Kind> } = {
  balance: balancePlan,
  capacity,
  reboots: rebootGroups,
  squeeze: squeezePlan,
  repairs: repairPlan,
};

export function computePlan<Kind extends PlanKind>({ kind, cluster, options }: PlanOrder<Kind>): Plan<Kind> {
  return PLANS[kind](cluster, options);
}
