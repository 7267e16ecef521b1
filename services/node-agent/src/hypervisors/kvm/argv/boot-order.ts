/** Which device the firmware tries first. */
import type { LaunchPlan } from "../launch-plan.ts";

/** For the first device of its kind; nothing when another kind is asked for or a kernel is booted directly. */
export function bootIndex(
  { params }: LaunchPlan,
  kind: LaunchPlan["params"]["boot_order"],
): { readonly bootindex?: number } {
  return params.kernel_path === "" && params.boot_order === kind ? { bootindex: 1 } : {};
}
