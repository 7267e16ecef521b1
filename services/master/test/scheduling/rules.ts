/** Filter rules and jobs for the tests of scheduling. */
import type { OpcodeStatus } from "@gannet/job-ledger";
import type { FilterRule } from "@gannet/objects";
import { type JobRule, orderedRules } from "../../src/scheduling/decision.ts";
import type { FilteredJob } from "../../src/scheduling/filtered-job.ts";

/** Told apart by one digit or letter. */
export function ruleUuid(letter: string): string {
  return `00000000-0000-0000-0000-00000000000${letter}`;
}

export function rule(letter: string, more: Partial<FilterRule>): FilterRule {
  const stamps = { ctime: 0, mtime: 0, serialNo: 0 };
  const defaults = { watermark: 0, priority: 0, predicates: [], action: "CONTINUE", reasonTrail: [] };
  return { ...stamps, ...defaults, uuid: ruleUuid(letter), ...more };
}

/** In the order in which they are asked; each can be read. */
export function usable(...rules: readonly FilterRule[]): readonly JobRule[] {
  return orderedRules(rules, (_rule, error) => {
    throw error;
  });
}

interface OpcodeSketch {
  readonly status?: OpcodeStatus;
  readonly reason?: readonly string[];
  readonly [param: string]: unknown;
}

/** A job of one opcode for each sketch; the texts of a reason trail are said by a user. */
export function jobOf(id: number, ...opcodes: readonly OpcodeSketch[]): FilteredJob {
  const sketches = opcodes.length === 0 ? [{}] : opcodes;
  return {
    id,
    opcodes: sketches.map(({ status = "queued", reason = [], ...params }) => ({
      status,
      input: {
        OP_ID: "OP_TEST_DELAY",
        ...params,
        reason: reason.map((text, index) => ["gnt:user", text, 1_700_000_000_000_000_000 + index]),
      },
    })),
  };
}
