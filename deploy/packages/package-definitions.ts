/** What each package holds and needs: the one table that `make packages` builds from. */

/** A program of this repository that becomes one file. */
export interface BundledProgram {
  /** Below the repository. */
  readonly entry: string;
  /** Of the file in the package's folder of programs. */
  readonly name: string;
}

export interface PackagedFile {
  /** Below the repository: a file, or a folder with all that is in it. */
  readonly source: string;
  readonly target: string;
  /** Of a file; files of a folder keep whether they are executable. Default 0644. */
  readonly mode?: number;
}

/** A shell script that runs one of the bundled programs. */
export interface Command {
  /** Absolute. */
  readonly target: string;
  readonly bundle: string;
}

export interface PackageDefinition {
  readonly name: string;
  readonly summary: string;
  /** Paragraphs of the long description. */
  readonly description: readonly string[];
  readonly depends: readonly string[];
  readonly recommends?: readonly string[];
  readonly suggests?: readonly string[];
  /** Folder of its programs. */
  readonly programDir: string;
  /** Whether it brings Node and what its programs read beside them, or uses those of a package that it depends on. */
  readonly runtime: "own" | "of-dependency";
  readonly bundles: readonly BundledProgram[];
  readonly commands: readonly Command[];
  /** Whether `gnt` and its completion for shells are in it. */
  readonly gnt: boolean;
  /** Whether its programs read Lua scripts. */
  readonly lua: boolean;
  readonly files: readonly PackagedFile[];
  /** Files below /etc that an operator may change, and keep. */
  readonly configurationFiles: readonly string[];
}

/** Stands in `depends` for exactly this build. */
export const SAME_VERSION = "THIS-VERSION";

const UNITS = "/lib/systemd/system";
const PROGRAMS = "/usr/lib/gannet";
const GNT: BundledProgram = { entry: "services/cli/src/main.ts", name: "gnt.mjs" };

/**
 * gannet-node is whole in itself, so that a node takes one file. A master's machine is always a node, too, and its
 * package uses the Node that is there. gannet-cli is for machines that are no node; all three may be installed together.
 */
export const PACKAGES: readonly PackageDefinition[] = [
  {
    name: "gannet-node",
    summary: "Gannet virtual-machine cluster, node agent and gnt",
    description: [
      "Gannet manages clusters of virtual machines and speaks Ganeti's remote API.",
      "This package makes a machine a node of a cluster: the agent that runs guests and their disks, the program by which a machine joins a cluster, the operator's terminal gnt, and OS definitions. Node.js is part of it.",
    ],
    depends: ["libc6 (>= 2.28)", "libstdc++6 (>= 10)", "bash", "systemd", "iproute2", "openssl", "socat"],
    recommends: ["qemu-system-x86", "qemu-utils", "lvm2", "drbd-utils", "iputils-arping", "ovmf"],
    suggests: ["xen-utils", "lxc", "swtpm", "cloud-image-utils"],
    programDir: PROGRAMS,
    runtime: "own",
    bundles: [
      { entry: "services/node-agent/src/main.ts", name: "node-agent.mjs" },
      { entry: "services/node-agent/src/program.ts", name: "node.mjs" },
      GNT,
    ],
    commands: [{ target: "/usr/sbin/gannet-node", bundle: "node.mjs" }],
    gnt: true,
    lua: false,
    files: [
      { source: "deploy/systemd/notify-systemd", target: `${PROGRAMS}/notify-systemd`, mode: 0o755 },
      { source: "deploy/xen/vif-gannet", target: `${PROGRAMS}/vif-gannet`, mode: 0o755 },
      { source: "deploy/systemd/gannet-node.service", target: `${UNITS}/gannet-node.service` },
      { source: "deploy/systemd/gannet-guests.slice", target: `${UNITS}/gannet-guests.slice` },
      { source: "deploy/systemd/gannet-node.tmpfiles", target: "/usr/lib/tmpfiles.d/gannet-node.conf" },
      { source: "deploy/packages/files/gannet-node.default", target: "/etc/default/gannet-node" },
      { source: "README.md", target: "/usr/share/doc/gannet-node/README.md" },
      { source: "deploy/os", target: "/usr/share/gannet/os" },
      { source: "deploy/install-image", target: "/usr/share/gannet/install-image" },
    ],
    configurationFiles: ["/etc/default/gannet-node"],
  },
  {
    name: "gannet-master",
    summary: "Gannet virtual-machine cluster, master",
    description: [
      "Gannet manages clusters of virtual machines and speaks Ganeti's remote API.",
      "This package is for the machines that may lead a cluster: the master with the remote API, its Redis and Sentinel as services, and gannet-admin, which makes a cluster, adds masters to it, and saves and restores it.",
    ],
    depends: [`gannet-node (= ${SAME_VERSION})`, "redis-server (>= 5:7.0)", "openssl", "systemd"],
    recommends: ["logrotate"],
    programDir: PROGRAMS,
    runtime: "of-dependency",
    bundles: [
      { entry: "services/master/src/main.ts", name: "master.mjs" },
      { entry: "services/master/src/plans/plan-worker.ts", name: "plan-worker.mjs" },
      { entry: "services/admin/src/main.ts", name: "admin.mjs" },
    ],
    commands: [{ target: "/usr/sbin/gannet-admin", bundle: "admin.mjs" }],
    gnt: false,
    lua: true,
    files: [
      { source: "deploy/systemd/gannet-master.service", target: `${UNITS}/gannet-master.service` },
      { source: "deploy/systemd/gannet-redis.service", target: `${UNITS}/gannet-redis.service` },
      { source: "deploy/systemd/gannet-sentinel.service", target: `${UNITS}/gannet-sentinel.service` },
      { source: "deploy/systemd/gannet-master.sysusers", target: "/usr/lib/sysusers.d/gannet-master.conf" },
      { source: "deploy/systemd/gannet-master.tmpfiles", target: "/usr/lib/tmpfiles.d/gannet-master.conf" },
      { source: "deploy/systemd/gannet-master.logrotate", target: "/etc/logrotate.d/gannet-master" },
      { source: "deploy/packages/files/gannet-master.default", target: "/etc/default/gannet-master" },
    ],
    configurationFiles: ["/etc/default/gannet-master", "/etc/logrotate.d/gannet-master"],
  },
  {
    name: "gannet-cli",
    summary: "Gannet virtual-machine cluster, gnt for other machines",
    description: [
      "Gannet manages clusters of virtual machines and speaks Ganeti's remote API.",
      "This package has gnt, the operator's terminal, for machines that are no node of a cluster: it works over the remote API. Node.js is part of it.",
    ],
    depends: ["libc6 (>= 2.28)", "libstdc++6 (>= 10)"],
    suggests: ["bash-completion", "socat", "openssh-client"],
    programDir: "/usr/lib/gannet-cli",
    runtime: "own",
    bundles: [GNT],
    commands: [],
    gnt: true,
    lua: false,
    files: [],
    configurationFiles: [],
  },
];
