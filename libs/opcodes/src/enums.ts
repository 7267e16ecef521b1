/** Closed sets of words that only opcodes use (spec/opcodes.json, `enums`); the model's own are in @gannet/objects. */

export const EVAC_MODES = ["all", "primary-only", "secondary-only"] as const;
export type EvacMode = (typeof EVAC_MODES)[number];

export const EXPORT_MODES = ["local", "remote"] as const;
export type ExportMode = (typeof EXPORT_MODES)[number];

export const FILE_DRIVERS = ["blktap", "blktap2", "loop"] as const;
export type FileDriver = (typeof FILE_DRIVERS)[number];

export const IALLOCATOR_MODES = [
  "allocate",
  "allocate-secondary",
  "change-group",
  "multi-allocate",
  "node-evacuate",
  "relocate",
] as const;
export type IallocatorMode = (typeof IALLOCATOR_MODES)[number];

export const IALLOCATOR_DIRECTIONS = ["in", "out"] as const;
export type IallocatorDirection = (typeof IALLOCATOR_DIRECTIONS)[number];

export const INSTANCE_CREATE_MODES = ["create", "import", "remote-import"] as const;
export type InstanceCreateMode = (typeof INSTANCE_CREATE_MODES)[number];

export const MIGRATION_MODES = ["live", "non-live"] as const;
export type MigrationMode = (typeof MIGRATION_MODES)[number];

export const OOB_COMMANDS = ["health", "power-cycle", "power-off", "power-on", "power-status"] as const;
export type OobCommandWord = (typeof OOB_COMMANDS)[number];

export const QUERY_RESOURCES = [
  "cluster",
  "export",
  "extstorage",
  "filter",
  "group",
  "instance",
  "job",
  "lock",
  "network",
  "node",
  "os",
] as const;
export type QueryResource = (typeof QUERY_RESOURCES)[number];

export const QUERY_FIELD_KINDS = ["bool", "float", "number", "other", "text", "timestamp", "unit", "unknown"] as const;
export type QueryFieldKind = (typeof QUERY_FIELD_KINDS)[number];

export const REBOOT_TYPES = ["full", "hard", "soft"] as const;
export type RebootType = (typeof REBOOT_TYPES)[number];

export const REPLACE_DISKS_MODES = [
  "replace_auto",
  "replace_new_secondary",
  "replace_on_primary",
  "replace_on_secondary",
] as const;
export type ReplaceDisksMode = (typeof REPLACE_DISKS_MODES)[number];

export const SSH_KEY_TYPES = ["dsa", "ecdsa", "rsa"] as const;
export type SshKeyType = (typeof SSH_KEY_TYPES)[number];

export const DISK_ACCESS_MODES = ["ro", "rw"] as const;
export type DiskAccess = (typeof DISK_ACCESS_MODES)[number];

/** How one entry of a list is changed. */
export const MODIFICATIONS = ["add", "attach", "detach", "modify", "remove"] as const;
export type Modification = (typeof MODIFICATIONS)[number];

/** The words that the older form of a modification knows; it modifies by giving an index instead. */
export const SIMPLE_MODIFICATIONS = ["add", "attach", "detach", "remove"] as const;

export const JOB_STATUSES = ["queued", "waiting", "canceling", "running", "canceled", "success", "error"] as const;

export const JOB_FINAL_STATUSES = ["canceled", "error", "success"] as const;
export type JobFinalStatus = (typeof JOB_FINAL_STATUSES)[number];

/** The priorities a job may be submitted with; the queue itself works with -20..19, smaller first. */
export const SUBMIT_PRIORITIES = [-10, 0, 10] as const;
export type SubmitPriority = (typeof SUBMIT_PRIORITIES)[number];

export const VERIFY_OPTIONAL_CHECKS = ["hvparam_assessment", "nplusone_mem"] as const;
export type VerifyOptionalCheck = (typeof VERIFY_OPTIONAL_CHECKS)[number];

export const VERIFY_ERROR_CODES = [
  "ECLUSTERCERT",
  "ECLUSTERCFG",
  "ECLUSTERCLIENTCERT",
  "ECLUSTERDANGLINGINST",
  "ECLUSTERDANGLINGNODES",
  "ECLUSTERFILECHECK",
  "EEXTAGS",
  "EGROUPDIFFERENTPVSIZE",
  "EINSTANCEBADNODE",
  "EINSTANCEDOWN",
  "EINSTANCEFAULTYDISK",
  "EINSTANCELAYOUT",
  "EINSTANCEMISSINGCFGPARAMETER",
  "EINSTANCEMISSINGDISK",
  "EINSTANCEPOLICY",
  "EINSTANCESPLITGROUPS",
  "EINSTANCEUNSUITABLENODE",
  "EINSTANCEWRONGNODE",
  "ENODEDRBD",
  "ENODEDRBDHELPER",
  "ENODEDRBDVERSION",
  "ENODEFILECHECK",
  "ENODEFILESTORAGEPATHS",
  "ENODEFILESTORAGEPATHUNUSABLE",
  "ENODEGLUSTERSTORAGEPATHUNUSABLE",
  "ENODEHOOKS",
  "ENODEHV",
  "ENODELVM",
  "ENODEN1",
  "ENODENET",
  "ENODEOOBPATH",
  "ENODEORPHANINSTANCE",
  "ENODEORPHANLV",
  "ENODEOS",
  "ENODERPC",
  "ENODESETUP",
  "ENODESHAREDFILESTORAGEPATHUNUSABLE",
  "ENODESSH",
  "ENODETIME",
  "ENODEUSERSCRIPTS",
  "ENODEVERSION",
] as const;
export type VerifyErrorCode = (typeof VERIFY_ERROR_CODES)[number];
