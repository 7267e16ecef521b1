/**
 * The classifications a client acts on, carried as the second argument of an `OpPrereqError`
 * (spec/jobs.json, `error_encoding.ecodes`).
 */
export const ERROR_CODES = [
  "already_exists",
  "environment_error",
  "insufficient_resources",
  "internal_error",
  "resolver_error",
  "resource_not_unique",
  "temp_insufficient_resources",
  "unknown_entity",
  "wrong_input",
  "wrong_state",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];
