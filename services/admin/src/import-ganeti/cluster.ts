/** The cluster's own row. */
import {
  type Cluster,
  checkedUidPool,
  checkTag,
  DISK_TEMPLATES,
  HYPERVISORS,
  NIC_PARAMETERS,
  NODE_PARAMETERS,
  type NodeUuid,
  newCluster,
  normalizeHostName,
  normalizeMacPrefix,
} from "@gannet/objects";
import type { ConfigurationVersion } from "./configuration-version.ts";
import { isBefore } from "./configuration-version.ts";
import { type Findings, NotTranslatable, type Path, shown } from "./findings.ts";
import { isObject, type Json, JsonObject } from "./json-object.ts";
import {
  fieldOr,
  translateBeparams,
  translateDiskparams,
  translateHvparams,
  translateOsHvp,
  translateOsparams,
  translateParameters,
  translateStates,
} from "./parameters.ts";
import { translateNames, translatePolicy } from "./policy.ts";

/** Ganeti's keys, digests and host keys: every machine of Gannet has new ones. */
const NOT_TAKEN = ["rsahostkeypub", "dsahostkeypub", "candidate_certs", "config_version"];

/** Since 2.16 a cluster says which SSH keys it has; before they were these. */
const FIRST_WITH_SSH_KEYS: ConfigurationVersion = { major: 2, minor: 16 };

/** @throws NotTranslatable when something is wrong without which there is no cluster */
export function translateCluster(
  findings: Findings,
  file: JsonObject,
  version: ConfigurationVersion,
  nodeNamed: (path: Path, name: string) => NodeUuid,
): Cluster {
  const object = new JsonObject(["cluster"], file.raw("cluster"));
  object.ignore(...NOT_TAKEN);
  const name = normalizeHostName(object.text("cluster_name"));
  const masterNode = nodeNamed(object.at("master_node"), object.text("master_node"));
  const masterIp = object.text("master_ip");
  const primaryIpFamily = object.int("primary_ip_family", masterIp.includes(":") ? 10 : 2);
  if (primaryIpFamily !== 2 && primaryIpFamily !== 10)
    throw new NotTranslatable(object.at("primary_ip_family"), `is ${primaryIpFamily}; it must be 2 or 10`);
  const defaults = newCluster({
    uuid: object.text("uuid"),
    name,
    now: 0,
    group: { uuid: "" as never },
    node: { uuid: masterNode, name, primaryIp: masterIp },
    enabledHypervisors: ["kvm"],
    enabledDiskTemplates: ["plain"],
  }).cluster;
  const enabledHypervisors = translateNames(
    findings,
    object.at("enabled_hypervisors"),
    object.list("enabled_hypervisors"),
    HYPERVISORS,
    "hypervisor",
  );
  const oldKeys = isBefore(version, FIRST_WITH_SSH_KEYS);
  const level = (field: string, what: string, table: typeof NIC_PARAMETERS | typeof NODE_PARAMETERS, values: Json) =>
    translateParameters(findings, object.at(field), values, { what, table });
  const cluster: Cluster = {
    ...translateStamps(object),
    uuid: object.text("uuid"),
    name,
    masterNode,
    masterIp,
    masterNetdev: object.text("master_netdev", ""),
    masterNetmask: object.int("master_netmask", defaults.masterNetmask),
    useExternalMipScript: object.flag("use_external_mip_script", false),
    primaryIpFamily,
    highestUsedPort: object.int("highest_used_port", defaults.highestUsedPort),
    tcpudpPortPool: ports(object),
    macPrefix: fieldOr(findings, object.at("mac_prefix"), defaults.macPrefix, () =>
      normalizeMacPrefix(object.text("mac_prefix", defaults.macPrefix)),
    ),
    volumeGroupName: object.text("volume_group_name", ""),
    reservedLvs: object.texts("reserved_lvs"),
    drbdUsermodeHelper: object.text("drbd_usermode_helper", ""),
    fileStorageDir: object.text("file_storage_dir", defaults.fileStorageDir),
    sharedFileStorageDir: object.text("shared_file_storage_dir", defaults.sharedFileStorageDir),
    glusterStorageDir: object.text("gluster_storage_dir", defaults.glusterStorageDir),
    enabledHypervisors,
    enabledDiskTemplates: translateNames(
      findings,
      object.at("enabled_disk_templates"),
      object.list("enabled_disk_templates"),
      DISK_TEMPLATES,
      "disk template",
    ),
    hvparams: translateHvparams(findings, object.at("hvparams"), object.table("hvparams"), enabledHypervisors),
    osHvp: translateOsHvp(findings, object.at("os_hvp"), object.table("os_hvp"), enabledHypervisors),
    beparams: {
      ...defaults.beparams,
      ...translateBeparams(findings, [...object.at("beparams"), "default"], onlyDefault(findings, object, "beparams")),
    },
    osparams: translateOsparams(findings, object.at("osparams"), object.table("osparams")),
    osparamsPrivate: translateOsparams(
      findings,
      object.at("osparams_private_cluster"),
      object.table("osparams_private_cluster"),
    ),
    nicparams: {
      ...defaults.nicparams,
      ...level("nicparams", "NIC parameter", NIC_PARAMETERS, onlyDefault(findings, object, "nicparams")),
    },
    ndparams: {
      ...defaults.ndparams,
      ...level("ndparams", "node parameter", NODE_PARAMETERS, object.table("ndparams")),
    },
    diskparams: translateDiskparams(findings, object.at("diskparams"), object.table("diskparams")),
    ipolicy: translatePolicy(findings, object.at("ipolicy"), object.table("ipolicy")),
    ...translateStates(findings, object),
    candidatePoolSize: object.int("candidate_pool_size", defaults.candidatePoolSize),
    modifyEtcHosts: object.flag("modify_etc_hosts", true),
    modifySshSetup: object.flag("modify_ssh_setup", true),
    maintainNodeHealth: object.flag("maintain_node_health", false),
    uidPool: fieldOr(findings, object.at("uid_pool"), [], () => uidPool(object)),
    defaultIallocator: object.text("default_iallocator", ""),
    defaultIallocatorParams: object.table("default_iallocator_params"),
    hiddenOs: object.texts("hidden_os"),
    blacklistedOs: object.texts("blacklisted_os"),
    preallocWipeDisks: object.flag("prealloc_wipe_disks", false),
    maxRunningJobs: object.int("max_running_jobs", defaults.maxRunningJobs),
    maxTrackedJobs: object.int("max_tracked_jobs", defaults.maxTrackedJobs),
    installImage: object.text("install_image", ""),
    zeroingImage: object.text("zeroing_image", ""),
    instanceCommunicationNetwork: object.text("instance_communication_network", ""),
    compressionTools:
      object.raw("compression_tools") == null ? defaults.compressionTools : object.texts("compression_tools"),
    enabledUserShutdown: object.flag("enabled_user_shutdown", false),
    dataCollectors: { ...defaults.dataCollectors, ...dataCollectors(object) },
    sshKeyType: object.choice("ssh_key_type", ["rsa", "dsa", "ecdsa"], oldKeys ? "dsa" : "rsa"),
    sshKeyBits: object.int("ssh_key_bits", oldKeys ? 1024 : 2048),
    rapiDefaults: defaults.rapiDefaults,
    rapiAnonymousReads: defaults.rapiAnonymousReads,
    destroyed: false,
    tags: translateTags(findings, object),
  };
  tellUnknown(findings, object);
  return cluster;
}

/** Serials and times stay as they were. */
export function translateStamps(
  object: JsonObject,
  absent: { readonly ctime: number } = { ctime: 0 },
): Pick<Cluster, "ctime" | "mtime" | "serialNo"> {
  const ctime = object.number("ctime", absent.ctime);
  const serialNo = object.int("serial_no", 1);
  if (serialNo < 0) throw new NotTranslatable(object.at("serial_no"), `is ${serialNo}; serials are not negative`);
  return { ctime, mtime: object.number("mtime", ctime), serialNo: Math.max(serialNo, 1) };
}

/** Each tag that Gannet would refuse is a problem of its own. */
export function translateTags(findings: Findings, object: JsonObject): string[] {
  return object.texts("tags").flatMap((tag, index) => {
    const checked = findings.attempt("the tag", [...object.at("tags"), index], () => {
      checkTag(tag);
      return tag;
    });
    return checked === undefined ? [] : [checked];
  });
}

/** Fields of a version that is not known, or of a damaged file. */
export function tellUnknown(findings: Findings, object: JsonObject): void {
  for (const field of object.unread) findings.problem(object.at(field), "is no field that is known", "the field");
}

/** Ganeti keeps some parameters below the one key `default`. */
function onlyDefault(findings: Findings, object: JsonObject, field: string): Json {
  const { default: values = {}, ...others } = object.table(field);
  for (const other of Object.keys(others))
    findings.problem([...object.at(field), other], "is no set of parameters that is known", "this set");
  if (isObject(values)) return values;
  throw new NotTranslatable([...object.at(field), "default"], `is ${shown(values)} where an object is expected`);
}

function ports(object: JsonObject): number[] {
  return object.list("tcpudp_port_pool").map((port, index) => {
    if (typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65_536) return port;
    throw new NotTranslatable([...object.at("tcpudp_port_pool"), index], `${shown(port)} is no port`);
  });
}

function uidPool(object: JsonObject): [number, number][] {
  const ranges = object.list("uid_pool").map((range, index): [number, number] => {
    const [first, last] = Array.isArray(range) ? range : [];
    if (Number.isSafeInteger(first) && Number.isSafeInteger(last)) return [first, last];
    throw new NotTranslatable([...object.at("uid_pool"), index], `${shown(range)} is no range of user ids`);
  });
  return checkedUidPool(ranges);
}

function dataCollectors(object: JsonObject): Cluster["dataCollectors"] {
  return Object.fromEntries(
    Object.entries(object.table("data_collectors")).map(([name, value]) => {
      const collector = new JsonObject([...object.at("data_collectors"), name], value);
      return [
        name,
        { active: collector.flag("active", true), interval: Math.round(collector.number("interval", 5e6)) },
      ];
    }),
  );
}
