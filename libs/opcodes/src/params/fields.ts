/** Whole parameters, with name-independent meaning and documentation, that several opcodes have. */
import { ALLOC_POLICIES, DISK_TEMPLATES, HYPERVISORS, STORAGE_TYPES } from "@gannet/objects";
import { z } from "zod";
import { FILE_DRIVERS, MIGRATION_MODES, VERIFY_ERROR_CODES, VERIFY_OPTIONAL_CHECKS } from "../enums.ts";
import {
  anyObject,
  flag,
  list,
  nonEmptyLine,
  nonNegative,
  optional,
  optionalFlag,
  optionalList,
  parameters,
  required,
  requiredList,
  set,
  withDefault,
} from "./basic.ts";
import { fileName, hostName, path, plainName, tag } from "./names.ts";

export const force = flag("Go on where a check would stop.");
export const ignoreConsistency = flag("Go on although disks may be inconsistent.");
export const ignoreIpolicy = flag("Go on where the instance policy is violated.");
export const waitForSync = flag("Wait until the disks are in sync.", { default: true });
export const earlyRelease = flag("Release locks as soon as possible.");
export const useLocking = flag("Take locks while collecting the data.");
export const opportunisticLocking = flag("Let an allocator choose among the nodes whose locks are free just now.");
export const conflictsCheck = flag("Refuse addresses that a network of the group already knows.", { default: true });
export const nameCheck = flag("Require that the name resolves.");
export const ipCheck = flag("Require that nobody answers at the name's address.");
export const ignoreOfflineNodes = flag("Go on although the primary node is offline.");
export const noRemember = flag("Do not remember the new state as the wanted one.");

/** Ganeti's default for how long a guest may take to shut down. */
const SHUTDOWN_TIMEOUT_S = 120;
export const shutdownTimeout = withDefault(
  nonNegative,
  SHUTDOWN_TIMEOUT_S,
  "Seconds a guest may take to shut down before it is stopped.",
);

/** `.` stands for the cluster's default allocator. */
const iallocatorName = z.union([z.literal("."), fileName], { error: "must be the name of an allocator, or '.'" });
export const iallocator = optional(iallocatorName, "The allocator that chooses nodes; `.` is the cluster's default.");

export const nodeNames = list(hostName, "Names of nodes.");
export const requiredNodeNames = requiredList(hostName, "Names of nodes.");
export const instanceNames = list(hostName, "Names of instances; none: all.");
export const targetGroups = optionalList(plainName, "Groups to move to; absent: all others.");
export const targetNode = optional(hostName, "The node to move to, for disks that every node reaches.");
export const remoteNode = optional(hostName, "The new secondary node.");
export const optionalGroupName = optional(plainName, "Limit to this node group.");

export const osType = optional(fileName, "The operating system, with its variant: `name+variant`.");
export const forceVariant = flag("Accept a variant that the operating system does not list.");
export const osparams = withDefault(parameters, {}, "OS parameters.");
export const hypervisor = optional(z.enum(HYPERVISORS), "The hypervisor; absent: the cluster's first.");
export const beparams = withDefault(parameters, {}, "Backend parameters; sizes in MiB or with a unit.");
export const ndparams = optional(parameters, "Node parameters.");
export const diskparams = optional(
  z.partialRecord(z.enum(DISK_TEMPLATES), parameters),
  "Disk parameters by disk template.",
);
export const ipolicy = optional(anyObject, "Instance policy.");
export const hvState = optional(anyObject, "Reserved resources by hypervisor.");
export const diskState = optional(anyObject, "Reserved disk space by storage type.");
export const allocPolicy = optional(z.enum(ALLOC_POLICIES), "Whether allocators may use the group.");

/** Parameters of one hypervisor. `usb_devices` is comma-separated; older clients separate by spaces. */
export const hvparams = withDefault(
  parameters.transform((given) =>
    typeof given.usb_devices === "string" ? { ...given, usb_devices: given.usb_devices.replace(/\s+/g, ",") } : given,
  ),
  {},
  "Hypervisor parameters.",
);

export const diskTemplate = optional(z.enum(DISK_TEMPLATES), "The disk template.");
export const fileDriver = optional(z.enum(FILE_DRIVERS), "How file-based disks are attached.");
export const fileStorageDir = optional(path, "Folder for file-based disks, below the cluster's.");
export const storageType = required(z.enum(STORAGE_TYPES), "The kind of storage unit.");
export const optionalStorageType = optional(
  z.enum(STORAGE_TYPES),
  "The kind of storage unit; absent: the cluster's preferred one.",
);
export const storageName = optional(nonEmptyLine, "The storage unit's name.");

export const migrationMode = optional(z.enum(MIGRATION_MODES), "How to migrate; absent: the hypervisor's default.");
export const live = optionalFlag("Older form of `mode`; not both.");
export const allowRuntimeChanges = flag("Shrink a running guest's memory where the target has less.", {
  default: true,
});
export const compress = withDefault(fileName, "none", "The tool that compresses the transfer, or `none`.");

export const tags = list(tag, "Tags.");
export const outputFields = requiredList(nonEmptyLine, "Names of the fields to answer.");

export const debugSimulateErrors = flag("Pretend that each check fails, to try what reads the messages.");
export const errorCodes = flag("Give each message in the form a program reads.");
export const skipChecks = set(z.enum(VERIFY_OPTIONAL_CHECKS), "Checks to leave out.");
export const ignoreErrors = set(z.enum(VERIFY_ERROR_CODES), "Errors to report as warnings.");
export const verbose = flag("Report what is done.");
export const verifyClutter = flag("Look for files that belong to no instance.");
export const isStrict = flag("Treat a node that does not answer as an error.", { default: true });
