/** What an operator wants of an instance, and how that may change (spec/config.json, `admin_state`). */
import { OpPrereqError } from "@gannet/errors";
import type { AdminState } from "./names.ts";

/** From each state, the states it may change to; staying is always allowed. */
export const ADMIN_STATE_CHANGES: Readonly<Record<AdminState, readonly AdminState[]>> = {
  down: ["up", "offline"],
  up: ["down"],
  offline: ["down"],
};

const WAY_OUT: Readonly<Record<AdminState, string>> = {
  up: "shut it down first",
  down: "start it first",
  offline: "bring it online first",
};

/**
 * @param instance - its name, for the message
 * @throws OpPrereqError `wrong_state` when the state may not change so
 */
export function checkAdminStateChange(instance: string, from: AdminState, to: AdminState): void {
  if (from === to || ADMIN_STATE_CHANGES[from].includes(to)) return;
  throw new OpPrereqError(`Instance ${instance} is ${from} and cannot become ${to}: ${WAY_OUT[from]}`, "wrong_state");
}
