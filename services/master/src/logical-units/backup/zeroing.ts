/**
 * Overwriting the unused space of an instance's disks with zeros before they are exported, so that it compresses to
 * nothing: by a machine that is booted from the cluster's `zeroing_image`.
 */
import { OpPrereqError } from "@gannet/errors";
import type { Instance } from "@gannet/objects";
import type { BackupExport, Op } from "@gannet/opcodes";
import type { PrereqContext } from "../../executor/context.ts";
import { type HelperPlan, planHelper } from "../instance/helper-machine.ts";

export interface Zeroing {
  readonly helper: HelperPlan;
  /** Within which it has to be done. */
  readonly timeoutS: number;
  readonly doing: string;
}

/** For starting and ending; as long as Ganeti lets a helping machine start. */
const TIMEOUT_FIXED_S = 300;
/** At 100 MiB a second, four times as long. */
const TIMEOUT_PER_MIB_S = 0.04;

/**
 * @returns null where none is asked for
 * @throws OpPrereqError: wrong_input, wrong_state when the cluster has no image for it, and as {@link planHelper}
 */
export async function planZeroing(
  ctx: PrereqContext,
  instance: Instance,
  op: Op<typeof BackupExport>,
  { isUp, running }: { readonly isUp: boolean; readonly running: boolean },
): Promise<Zeroing | null> {
  const { zeroing_timeout_fixed: fixedS, zeroing_timeout_per_mib: perMibS } = op;
  for (const [name, value] of Object.entries({ zeroing_timeout_fixed: fixedS, zeroing_timeout_per_mib: perMibS })) {
    if (value === null) continue;
    if (!op.zero_free_space)
      throw new OpPrereqError(`${name} is for exports that overwrite unused space (zero_free_space)`, "wrong_input");
    if (value < 0) throw new OpPrereqError(`${name} must not be below 0, and is ${value}`, "wrong_input");
  }
  if (!op.zero_free_space) return null;
  if (isUp && !op.shutdown)
    throw new OpPrereqError(
      `The unused space of ${instance.name} can be overwritten only while it is shut down (shutdown)`,
      "wrong_input",
    );
  const { zeroingImage: image } = ctx.config.cluster;
  if (image === "")
    throw new OpPrereqError(
      "The cluster has no image that overwrites unused space: set zeroing_image of the cluster",
      "wrong_state",
    );
  const totalMib = ctx.config.disksOf(instance).reduce((sum, { sizeMib }) => sum + sizeMib, 0);
  return {
    helper: await planHelper(ctx, instance, { image, running }),
    timeoutS: (fixedS ?? TIMEOUT_FIXED_S) + (perMibS ?? TIMEOUT_PER_MIB_S) * totalMib,
    doing: "overwriting unused space",
  };
}
