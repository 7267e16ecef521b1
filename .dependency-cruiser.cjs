/** The import rules of ARCHITECTURE.md. `make check` runs them, and fails when they were applied to nothing. */

/** @param {string[]} names */
const libs = (...names) => `^libs/(${names.join("|")})/`;

/** A library may import only these others. */
const MAY_IMPORT = {
  errors: [],
  objects: ["errors"],
  opcodes: ["errors", "objects"],
  query: ["errors", "objects", "opcodes"],
  telemetry: ["errors"],
  exec: ["errors", "telemetry"],
  pki: ["errors"],
  redis: ["errors", "telemetry"],
  "driver-contract": ["errors", "objects"],
  rpc: ["errors", "objects", "telemetry"],
  locking: ["errors", "objects", "redis", "telemetry"],
  "config-store": ["errors", "objects", "redis", "locking", "telemetry"],
  "job-ledger": ["errors", "opcodes", "redis", "locking", "telemetry"],
  "rapi-client": ["errors", "opcodes"],
};

const PURE = ["errors", "objects", "opcodes", "query"];

module.exports = {
  forbidden: [
    ...Object.entries(MAY_IMPORT).map(([lib, allowed]) => ({
      name: `imports-of-${lib}`,
      comment: `libs/${lib} imports only ${allowed.length > 0 ? allowed.join(", ") : "no other library"}`,
      severity: "error",
      from: { path: `^libs/${lib}/src/` },
      to: { path: "^(libs|services|deploy|test)/", pathNot: libs(lib, ...allowed) },
    })),
    {
      name: "services-apart",
      comment: "Services never import each other",
      severity: "error",
      from: { path: "^services/([^/]+)/" },
      to: { path: "^services/([^/]+)/", pathNot: "^services/$1/" },
    },
    {
      name: "no-service-below",
      comment: "Nothing below the services imports one",
      severity: "error",
      from: { path: "^(libs|deploy)/" },
      to: { path: "^services/" },
    },
    {
      name: "master-runs-no-command",
      comment: "Nothing in the master runs a command",
      severity: "error",
      from: { path: "^services/master/src/" },
      to: { path: "^libs/exec/" },
    },
    {
      name: "nodes-read-no-redis",
      comment: "Nothing on a node reads Redis",
      severity: "error",
      from: { path: "^services/node-agent/src/" },
      to: { path: libs("redis", "config-store", "locking", "job-ledger") },
    },
    {
      name: "execa-in-exec-only",
      severity: "error",
      from: { path: "^(libs|services)/[^/]+/src/", pathNot: "^libs/exec/" },
      to: { path: "(^|node_modules/)execa" },
    },
    {
      name: "child-processes-in-exec-only",
      comment: "The embedded Redis, and the servers of tests, are the daemons that libraries start",
      severity: "error",
      from: {
        path: "^(libs|services)/[^/]+/src/",
        pathNot: "^libs/(exec/|redis/src/embedded-server|testing/src/redis-group)",
      },
      to: { path: "^(node:)?child_process$" },
    },
    {
      name: "redis-connections-in-redis-only",
      severity: "error",
      from: { path: "^(libs|services)/[^/]+/src/", pathNot: "^libs/redis/" },
      to: { path: "(^|node_modules/)ioredis" },
    },
    {
      name: "pure-libraries-do-no-io",
      severity: "error",
      from: { path: `${libs(...PURE)}src/` },
      to: {
        path: "^(node:)?(fs|fs/promises|net|http|https|tls|child_process|dgram|dns|dns/promises|worker_threads|timers/promises)$",
      },
    },
    { name: "no-cycles", severity: "error", from: { path: "^(libs|services|deploy)/" }, to: { circular: true } },
    {
      name: "no-generated-by-hand",
      comment: "Generated code is reached through its package's index",
      severity: "error",
      from: { pathNot: "^libs/rpc/" },
      to: { path: "^libs/rpc/src/generated/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
