/** How long each call may take before the master gives the node up. */
import type { RequestOf, ServiceName, Services } from "./services.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Ganeti's classes of calls (spec/rpc.json, `timeout`). */
const URGENT = MINUTE;
const FAST = 5 * MINUTE;
const NORMAL = 15 * MINUTE;
/** For the way there and back, and for the kill of what did not end in time. */
const MARGIN = 30 * SECOND;

type Deadline<Request> = number | ((request: Request) => number);

/** In milliseconds; where the request says how long its work may take, that and a margin. */
export const DEADLINES_MS: {
  readonly [S in ServiceName]: { readonly [M in keyof Services[S]]: Deadline<RequestOf<Services[S][M]>> };
} = {
  node: {
    describe: URGENT,
    /** The master opens the next one when this ends. */
    watch: 24 * HOUR,
    delay: (request) => request.durationMs + MARGIN,
  },
  blockDevices: {
    create: NORMAL,
    assemble: NORMAL,
    shutdown: NORMAL,
    remove: NORMAL,
    grow: NORMAL,
    status: URGENT,
  },
  instances: {
    validate: NORMAL,
    start: NORMAL,
    stop: (request) => request.timeoutMs + FAST,
    reboot: (request) => request.timeoutMs + NORMAL,
    state: URGENT,
    console: URGENT,
  },
  os: {
    diagnose: FAST,
    validate: FAST,
    /** An operating system's installation may fetch a whole distribution. */
    create: 24 * HOUR,
  },
};
