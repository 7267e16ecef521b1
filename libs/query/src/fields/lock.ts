/** Fields of locks. Only locks that are held or waited for exist. */
import type { Field } from "../field.ts";
import { live, stored } from "../field.ts";
import { normal } from "../result-status.ts";

/** A lock as the lock manager tells it, as far as queries show it. Owners are job ids. */
export interface LockContext {
  /** Ganeti's wire form: `node/<uuid>`, `cluster/BGL`. */
  readonly name: string;
  readonly mode: "shared" | "exclusive" | null;
  readonly owners: readonly number[];
  /** In the order in which they would be granted. `sinceMs`: when each asked, in milliseconds since 1970. */
  readonly pending: readonly {
    readonly owner: number;
    readonly mode: "shared" | "exclusive";
    readonly sinceMs: number;
  }[];
}

export const LOCK_FIELDS: readonly Field<LockContext>[] = [
  stored("name", "Name", "other", "Name of the lock", ({ name }) => name),
  live("mode", "Mode", "other", "How it is held: exclusive, shared, or not at all", ({ mode }) => normal(mode)),
  live("owner", "Owner", "other", "Jobs that hold it", ({ owners }) => normal(owners.map(String))),
  live("pending", "Pending", "other", "Jobs that wait for it, in their order, and how they ask", ({ pending }) =>
    normal(pending.map(({ owner, mode }) => [mode, [String(owner)]])),
  ),
  // Not Ganeti's: its clients take `pending` apart as pairs, so the times stand beside it.
  live("pending_since", "PendingSince", "other", "When each of them asked, in seconds since 1970", ({ pending }) =>
    normal(pending.map(({ sinceMs }) => sinceMs / 1000)),
  ),
];
