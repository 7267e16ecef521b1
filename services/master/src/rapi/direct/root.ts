/** `/`, `/2`, `/version` and `/2/features`: what never changes while the server runs. */
import { jsonAnswer } from "../answers.ts";
import type { Handler, Handlers } from "../handlers.ts";

/** Version of the remote API itself, not of the software. */
const API_VERSION = 2;

/** Forms of requests and answers that came after version 2.0 of the API (spec/rapi.json, `special.features`). */
const FEATURES = ["instance-create-reqv1", "instance-reinstall-reqv1", "node-evac-res1", "node-migrate-reqv1"];

export function rootHandlers(): Handlers {
  return { root: always(null), version: always(API_VERSION), features: always(FEATURES) };
}

function always(value: unknown): Handler {
  const answer = jsonAnswer(value);
  return () => answer;
}
