/** How long each call may take before the master gives the node up. */
import type { RequestOf, ServiceName, Services } from "./services.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Ganeti's classes of calls (spec/rpc.json, `timeout`). */
const URGENT = MINUTE;
const FAST = 5 * MINUTE;
const NORMAL = 15 * MINUTE;
const SLOW = HOUR;
const DAY = 24 * HOUR;
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
    watch: DAY,
    verify: NORMAL,
    checkAddresses: URGENT,
    runAllocator: NORMAL,
    runHooks: SLOW,
    runOob: (request) => request.timeoutMs + MARGIN,
    runRestrictedCommand: SLOW,
    powercycle: URGENT,
    activateMasterAddress: FAST,
    deactivateMasterAddress: FAST,
    changeMasterNetmask: FAST,
    setHosts: NORMAL,
    configureOpenvswitch: NORMAL,
    keepConfiguration: URGENT,
    /** One that is late renews nothing. */
    renewSelfFence: 5 * SECOND,
    delay: (request) => request.durationMs + MARGIN,
    setTrust: URGENT,
    requestCertificate: URGENT,
    installCertificate: URGENT,
    forgetCluster: URGENT,
  },
  blockDevices: {
    create: NORMAL,
    assemble: NORMAL,
    shutdown: NORMAL,
    remove: NORMAL,
    grow: NORMAL,
    status: URGENT,
    rename: NORMAL,
    setInfo: NORMAL,
    snapshot: NORMAL,
    adoptable: URGENT,
    wipe: SLOW,
    /** As much as there is. */
    convert: DAY,
    describeImage: NORMAL,
    writeImage: SLOW,
    standBy: NORMAL,
    seed: NORMAL,
    connect: NORMAL,
    disconnect: NORMAL,
    attachVolumes: NORMAL,
    detachVolumes: NORMAL,
    pauseSync: NORMAL,
    mirrorStatus: URGENT,
  },
  instances: {
    validate: NORMAL,
    start: NORMAL,
    stop: (request) => request.timeoutMs + FAST,
    reboot: (request) => request.timeoutMs + NORMAL,
    state: URGENT,
    console: URGENT,
    setMemory: NORMAL,
    migrationInfo: FAST,
    acceptMigration: NORMAL,
    /** As much as the guest writes. */
    migrate: DAY,
    finishMigrationSource: NORMAL,
    finishMigrationTarget: NORMAL,
    readNonvolatile: FAST,
    writeNonvolatile: NORMAL,
    removeNonvolatile: NORMAL,
    checkHotplug: FAST,
    hotplug: NORMAL,
  },
  os: {
    diagnose: FAST,
    validate: FAST,
    /** An operating system's installation may fetch a whole distribution. */
    create: DAY,
    rename: NORMAL,
    prepareInstallation: NORMAL,
    finishInstallation: FAST,
  },
  storage: {
    listUnits: URGENT,
    setAllocatable: NORMAL,
    repair: NORMAL,
    listVolumes: URGENT,
    describeDrbd: URGENT,
  },
  transfers: {
    startImport: NORMAL,
    startExport: NORMAL,
    follow: DAY,
    end: NORMAL,
    createCertificate: FAST,
    removeCertificate: FAST,
    finalizeExport: FAST,
    listExports: FAST,
    exportInfo: FAST,
    removeExport: FAST,
  },
};
