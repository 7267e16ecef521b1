/** Fields of job filters. */
import type { FilterRule } from "@gannet/objects";
import type { Field } from "../field.ts";
import { stored } from "../field.ts";

export const FILTER_FIELDS: readonly Field<FilterRule>[] = [
  stored("uuid", "UUID", "other", "UUID of the filter", ({ uuid }) => uuid),
  stored("watermark", "Watermark", "other", "Highest job id when the filter was made", ({ watermark }) => watermark),
  stored("priority", "Priority", "other", "Filters are tried by rising priority", ({ priority }) => priority),
  stored(
    "predicates",
    "Predicates",
    "other",
    "What a job must be for the filter to apply",
    ({ predicates }) => predicates,
  ),
  stored("action", "Action", "other", "What happens to such a job", ({ action }) => action),
  stored("reason_trail", "ReasonTrail", "other", "Why the filter was made", ({ reasonTrail }) => reasonTrail),
];
