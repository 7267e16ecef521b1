/** Limits on how many jobs of one kind run together, of filter rules and of jobs themselves. */
import { type FilteredJob, reasonsOf } from "./filtered-job.ts";

/**
 * At most `capacity` jobs with this key run at once. The key says the capacity, too: another number makes another
 * limit, so that jobs decided on before and after a change of rules never stand in one line with two capacities.
 */
export interface Limit {
  readonly key: string;
  readonly capacity: number;
}

/** Of a rule with the action `RATE_LIMIT`. */
export function ruleLimit(uuid: string, capacity: number): Limit {
  return { key: `filter/${uuid}/${capacity}`, capacity };
}

const AD_HOC = /^rate-limit:(\d{1,9}):(.*)$/s;

/**
 * The limits that a job asks for itself, by texts `rate-limit:<n>:<label>` in the reason trails of its opcodes
 * (spec/jobs.json, `ad_hoc_rate_limit`). One of no job at all is none.
 */
export function adHocLimits({ opcodes }: Pick<FilteredJob, "opcodes">): readonly Limit[] {
  const limits = new Map<string, Limit>();
  for (const { input } of opcodes)
    for (const [, text] of reasonsOf(input)) {
      const [, digits, label] = AD_HOC.exec(text) ?? [];
      const capacity = Number(digits);
      if (capacity > 0) limits.set(`${capacity}/${label}`, { key: `label/${capacity}/${label}`, capacity });
    }
  return [...limits.values()];
}
