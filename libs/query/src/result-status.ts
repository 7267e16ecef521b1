/** Cells of a query's answer: a status, and a value where the status is normal (spec/query-fields.json, `result_status`). */

export const RESULT_STATUS = {
  normal: 0,
  /** There is no such field. */
  unknown: 1,
  /** It should be known but is not now: a node does not answer. */
  noData: 2,
  /** It has no meaning for this entity. */
  unavailable: 3,
  /** The node that knows is marked offline. */
  offline: 4,
} as const;
export type ResultStatus = (typeof RESULT_STATUS)[keyof typeof RESULT_STATUS];

export type Cell = readonly [status: ResultStatus, value: unknown];

export const UNKNOWN_FIELD: Cell = [RESULT_STATUS.unknown, null];
export const NO_DATA: Cell = [RESULT_STATUS.noData, null];
export const UNAVAILABLE: Cell = [RESULT_STATUS.unavailable, null];
export const OFFLINE: Cell = [RESULT_STATUS.offline, null];

export function normal(value: unknown): Cell {
  return [RESULT_STATUS.normal, value];
}

/** Normal, or unavailable when there is no value. */
export function available(value: unknown): Cell {
  return value === undefined || value === null ? UNAVAILABLE : normal(value);
}

/** How a command line shows each status that is not normal. */
export const STATUS_TEXT: Readonly<
  Record<Exclude<ResultStatus, 0>, { readonly short: string; readonly verbose: string }>
> = {
  1: { short: "??", verbose: "(unknown)" },
  2: { short: "?", verbose: "(nodata)" },
  3: { short: "-", verbose: "(unavail)" },
  4: { short: "*", verbose: "(offline)" },
};
