/** What plans of the cluster answer (Gannet's own resources below `/2/plans`). */
import { DISK_TEMPLATES } from "@gannet/objects";
import { z } from "zod";
import * as r from "../results.ts";

/** One job: its opcodes, in their order. */
const opcodes = z.array(r.anyObject);
const scores = { score_before: z.number(), score_after: z.number() };

const move = z.strictObject({
  instance: z.string(),
  /** Names of its nodes, the primary first, before and after. */
  from: r.names,
  to: r.names,
  /** The group's, after the move; lower is more even. */
  score: z.number(),
  opcodes,
});

export const balanceAnswer = z.strictObject({
  group: z.string(),
  ...scores,
  moves: z.array(move),
  /** Jobs of one set can run at the same time; a set begins when the one before it has ended. */
  job_sets: z.array(z.array(opcodes)),
});

export const capacityAnswer = z.strictObject({
  group: z.string(),
  disk_template: z.enum(DISK_TEMPLATES),
  /** Of each instance: the group's policy's standard. */
  spec: r.anyObject,
  count: z.int().nonnegative(),
  limited_by: z.string(),
  ...scores,
});

export const rebootAnswer = z.strictObject({ nodes: r.names, stopped: r.names });

export const squeezeAnswer = z.strictObject({
  switch_off: z.array(z.strictObject({ node: z.string(), moves: z.array(move) })),
  switch_on: z.string().nullable(),
});

export const repairAnswer = z.strictObject({
  instance: z.string(),
  type: z.enum(["fix-storage", "migrate", "failover", "reinstall"]),
  reason: z.string(),
  /** Null where tags do not allow it. */
  opcodes: opcodes.nullable(),
});
