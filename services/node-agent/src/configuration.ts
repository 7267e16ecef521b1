/** The agent's settings: one JSON file, checked as a whole before anything starts. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import { HYPERVISORS, METADATA_ADDRESS, SYSTEM_LAYOUT, SYSTEM_PORTS } from "@gannet/objects";
import { z } from "zod";
import { GANETI_ALLOCATOR_SEARCH_PATH } from "./allocators/site-allocators.ts";
import { GLUSTER_PLACES } from "./block-devices/gluster/gluster-driver.ts";
import { SYSTEM_STORAGE_TOOLS } from "./block-devices/storage-tools.ts";
import { GANETI_HOOKS_FOLDER } from "./hooks/site-hooks.ts";
import { SYSTEM_HOSTS_FILE } from "./hosts-file/hosts-file.ts";
import { SYSTEM_LXC } from "./hypervisors/lxc/lxc-options.ts";
import { GANETI_SCRIPT_FOLDER, SYSTEM_ADDRESS_TOOLS } from "./master-address/master-address.ts";
import { SYSTEM_NETWORK_TOOLS } from "./nics/network-tools.ts";
import { GANETI_OS_SEARCH_PATH } from "./os/index.ts";
import { GANETI_RESTRICTED_COMMANDS } from "./site-commands/restricted-commands.ts";

/** Ganeti has no agent; this is the port that its node daemon listens on. */
const STANDARD_PORT = 1811;

const absolutePath = z.string().refine((value) => path.isAbsolute(value) && path.normalize(value) === value, {
  error: "must be an absolute path without . or ..",
});

export const agentConfiguration = z.strictObject({
  /** As in the cluster's configuration and in the certificate. */
  nodeName: z.string().min(1),
  listen: z
    .strictObject({
      host: z.string().min(1).default("0.0.0.0"),
      /** 0 for any free port, which the line "agent ready" tells. */
      port: z.int().min(0).max(65535).default(STANDARD_PORT),
    })
    .prefault({}),
  /** Everything the agent keeps; one agent only. */
  stateDir: absolutePath,
  /** Holds ca.pem, cert.pem and key.pem (libs/pki). */
  pkiDir: absolutePath,
  hypervisors: z.array(z.enum(HYPERVISORS)).min(1),
  /** Folders below which disks of templates file and sharedfile may lie; without any these templates are refused. */
  fileStorageRoots: z.array(absolutePath).default([]),
  sharedFileStorageRoots: z.array(absolutePath).default([]),
  /** Where Gluster volumes are mounted, which must be the cluster's `gluster_storage_dir`; nowhere else they are. */
  glusterStorageDir: absolutePath.default(GLUSTER_PLACES.mountPoint),
  /** Files of disks are kept below this folder, their whole path after it; for several agents on one machine. */
  storageRoot: absolutePath.optional(),
  /** The same for disks of template sharedfile: all agents of one machine have the same folder. */
  sharedStorageRoot: absolutePath.optional(),
  /** Programs and kernel files of LVM and DRBD; others than the system's only where these are simulated. */
  storageTools: z
    .strictObject({
      binFolder: absolutePath.default(SYSTEM_STORAGE_TOOLS.binFolder),
      deviceFolder: absolutePath.default(SYSTEM_STORAGE_TOOLS.deviceFolder),
      drbdStatusFile: absolutePath.default(SYSTEM_STORAGE_TOOLS.drbdStatusFile),
      drbdHelperFile: absolutePath.default(SYSTEM_STORAGE_TOOLS.drbdHelperFile),
    })
    .prefault({}),
  /** Exports of instances. */
  exportDir: absolutePath.default("/srv/ganeti/export"),
  osSearchPath: z.array(absolutePath).default([...GANETI_OS_SEARCH_PATH, SYSTEM_LAYOUT.osDir]),
  /** Holds the site's hooks, `<path>-<phase>.d`. */
  hooksFolder: absolutePath.default(GANETI_HOOKS_FOLDER),
  /** Folders of the allocators that the site has installed; asked on the master's node only. */
  allocatorSearchPath: z.array(absolutePath).default([...GANETI_ALLOCATOR_SEARCH_PATH]),
  /** Commands that may be run here from afar: the files of a folder that belong to root. */
  restrictedCommands: z
    .strictObject({ enabled: z.boolean().default(false), folder: absolutePath.default(GANETI_RESTRICTED_COMMANDS) })
    .prefault({}),
  /** Whether this agent may restart its machine when it is asked to; not where it shares the machine with others. */
  powercycle: z.boolean().default(true),
  kvm: z
    .strictObject({
      /** `auto` uses KVM where it is proven to work. */
      acceleration: z.enum(["auto", "on", "off"]).default("auto"),
      qemuPath: absolutePath.optional(),
      /** Of SPICE connections, the key beside the certificate or in a file of its own: Ganeti's files unless told otherwise. */
      spiceCertificate: z
        .strictObject({ certFile: absolutePath, keyFile: absolutePath.optional(), caFile: absolutePath })
        .transform(({ keyFile, ...files }) => ({ ...files, keyFile: keyFile ?? files.certFile }))
        .optional(),
      /** Bridged NICs get qemu's user networking, which needs no rights. */
      userNetworking: z.boolean().default(false),
    })
    .prefault({}),
  /** What is left out is where Debian and Ganeti have it (hypervisors/xen/xen-options.ts). */
  xen: z
    .strictObject({
      /** `xm` until Xen 4.4. */
      toolstack: z.enum(["xl", "xm"]).exactOptional(),
      toolstackPath: absolutePath.exactOptional(),
      socatPath: absolutePath.exactOptional(),
      /** The same on all nodes: guests that move find their disks by it. */
      diskLinkFolder: absolutePath.exactOptional(),
      nicFolder: absolutePath.exactOptional(),
      vifScript: absolutePath.exactOptional(),
      siteVifScript: absolutePath.exactOptional(),
    })
    .prefault({}),
  lxc: z
    .strictObject({
      /** Holds lxc-start and the others. */
      binFolder: absolutePath.default(SYSTEM_LXC.binFolder),
    })
    .prefault({}),
  /** Holds the site's network scripts: `network/<mode>/<up|down>`, `kvm-vif-bridge`. */
  networkScriptFolder: absolutePath.default(SYSTEM_NETWORK_TOOLS.scriptFolder),
  /** Holds the site's script that moves the cluster's address, `master-ip-setup`. */
  scriptFolder: absolutePath.default(GANETI_SCRIPT_FOLDER),
  /** Programs by which the agent itself moves it; others than the system's only where several agents share a machine. */
  addressTools: z
    .strictObject({
      ip: absolutePath.default(SYSTEM_ADDRESS_TOOLS.ip),
      arping: absolutePath.default(SYSTEM_ADDRESS_TOOLS.arping),
      ndisc6: absolutePath.default(SYSTEM_ADDRESS_TOOLS.ndisc6),
    })
    .prefault({}),
  /** The service at which guests ask for what concerns themselves, over the cluster's communication network. */
  metadata: z
    .strictObject({
      enabled: z.boolean().default(false),
      /** The only one that it listens on. This node gets it on its loopback interface where it has it not. */
      address: z
        .ipv4()
        .refine((address) => address !== "0.0.0.0", "must be one address")
        .default(METADATA_ADDRESS),
      port: z.int().min(1).max(65535).default(80),
      /** Holds the packages that the OS parameters os-package and os-install-package name; none are served without it. */
      packageFolder: absolutePath.optional(),
    })
    .prefault({}),
  /** How this node stops its guests by itself where the cluster has it guard itself (automatic failover). */
  selfFence: z
    .strictObject({
      /** From when its lease ends until no guest runs: the agent has the first quarter, another process the rest. */
      stopWithinS: z.number().min(1).default(15),
      /** Restarts the machine when the process that sees to it stands still, such as /dev/watchdog. */
      watchdogDevice: absolutePath.optional(),
      /** How long the device waits. */
      watchdogTimeoutS: z.number().positive().default(60),
    })
    .prefault({}),
  /** Where Prometheus is answered, in plain HTTP; false: nowhere. */
  metrics: z
    .union([
      z.literal(false),
      z.strictObject({
        host: z.string().default("127.0.0.1"),
        port: z.int().min(0).max(65_535).default(SYSTEM_PORTS.agentMetrics),
      }),
    ])
    .prefault({}),
  /** In which the names of the cluster's nodes are kept where the cluster is told to (`modify_etc_hosts`). */
  hostsFile: absolutePath.default(SYSTEM_HOSTS_FILE),
  log: z
    .strictObject({
      level: z.enum(["fatal", "error", "warn", "info", "debug", "trace"]).default("info"),
      format: z.enum(["json", "pretty"]).default("json"),
    })
    .prefault({}),
  /** How long running operations may take to end when the agent is asked to stop, before they are aborted. */
  stopTimeoutMs: z.int().nonnegative().default(30_000),
  /** Adds gRPC reflection. */
  development: z.boolean().default(false),
  /** For tests: each execution of a step is noted in `executions.log` in the state folder, which only grows. */
  recordExecutions: z.boolean().default(false),
});
/** What is written into the file. */
export type AgentConfigurationFile = z.input<typeof agentConfiguration>;
export type AgentConfiguration = z.output<typeof agentConfiguration>;

/** @throws ConfigurationError naming the file and every setting that is wrong */
export async function readConfiguration(file: string): Promise<AgentConfiguration> {
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new ConfigurationError(`The configuration cannot be read: ${error.message}`, { cause: error });
  });
  const parsed = agentConfiguration.safeParse(parseJson(file, text));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path: where, message }) => `${where.join(".") || "file"}: ${message}`);
  throw new ConfigurationError(`${file} is not acceptable: ${problems.join("; ")}`);
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConfigurationError(`${file} is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
