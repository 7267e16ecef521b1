/** What a node's answers mean (spec/opcodes.json, `verify_error_codes`). Pure. */
import { type ConfigView, drbdIdOf, type Node, type NodeUuid } from "@gannet/objects";
import type { VerifyErrorCode } from "@gannet/opcodes";
import { GANNET_VERSION, worksWith } from "../../version.ts";
import { volumesOf } from "../group/disk-inspection.ts";
import { hasExclusiveStorage } from "../instance/exclusive-storage.ts";
import { certificateChecks } from "./certificate-checks.ts";
import type { NodeAnswers, NodeEvidence } from "./node-evidence.ts";
import { reservedVolumes } from "./reserved-volumes.ts";
import type { Check } from "./verification-report.ts";

/** Beyond this, times in logs and of leases mean nothing any more; Ganeti's bound. */
const LARGEST_SKEW_MS = 150_000;

/** Everything that can be told of one node from its own answers. */
export function nodeChecks(view: ConfigView, evidence: NodeEvidence): readonly Check[] {
  const { node } = evidence;
  const check = checkOf(node);
  if (evidence.failure !== null) return [check("ENODERPC", false, `while contacting node: ${evidence.failure}`)];
  return [
    check("ENODERPC", true, "it does not answer"),
    check(
      "ENODEVERSION",
      worksWith(evidence.verified.agentVersion),
      `software version mismatch: master ${GANNET_VERSION}, node ${evidence.verified.agentVersion}`,
    ),
    clockCheck(node, evidence),
    ...certificateChecks("ECLUSTERCLIENTCERT", node.name, evidence.verified.certificates, evidence.askedAtMs[1]),
    ...problemChecks(view, node, evidence),
    check(
      "ENODENET",
      evidence.unreached.length === 0,
      `tcp communication fails with nodes ${evidence.unreached.join(", ")}`,
    ),
    check(
      "ENODENET",
      evidence.unreachedSecondaries.length === 0,
      `tcp communication over the secondary network fails with nodes ${evidence.unreachedSecondaries.join(", ")}`,
    ),
    check(
      "ENODENET",
      evidence.reachesMasterIp,
      node.uuid === view.cluster.masterNode
        ? "the master node cannot reach the master IP (not configured?)"
        : "cannot reach the master IP",
    ),
    ...lvmChecks(view, node, evidence),
    ...drbdChecks(view, node, evidence),
    ...evidence.refusedHvparams.map(({ source, problem }) =>
      check("ENODEHV", false, `hypervisor parameter verify failure (source ${source}): ${problem}`),
    ),
  ];
}

function checkOf({ name }: Node) {
  return (code: VerifyErrorCode, ok: boolean, text: string): Check => ({ code, item: name, ok, text });
}

function clockCheck(node: Node, { verified, askedAtMs: [before, after] }: NodeAnswers): Check {
  const { clockMs } = verified;
  const skewMs = clockMs < before ? before - clockMs : Math.max(0, clockMs - after);
  const seconds = (skewMs / 1000).toFixed(1);
  return checkOf(node)(
    "ENODETIME",
    skewMs <= LARGEST_SKEW_MS,
    `Node time diverges by at least ${seconds}s from master node time`,
  );
}

const CODES: Readonly<Record<string, VerifyErrorCode>> = {
  bridge: "ENODENET",
  executable: "ENODEOOBPATH",
  file: "ENODEFILECHECK",
  "file-storage-root": "ENODEFILESTORAGEPATHS",
  hypervisor: "ENODEHV",
  "node-setup": "ENODESETUP",
  "user-script": "ENODEUSERSCRIPTS",
};

const WORDS: Readonly<Record<string, string>> = {
  bridge: "missing bridge",
  executable: "Invalid OOB path",
  "file-storage-root": "Found forbidden file storage path",
  hypervisor: "hypervisor verify failure",
  "node-setup": "node setup error",
  "user-script": "user script not usable:",
};

/** What the agent found wrong, and each kind of which it found nothing. */
function problemChecks(view: ConfigView, node: Node, { verified }: NodeAnswers): readonly Check[] {
  const check = checkOf(node);
  const { cluster } = view;
  const storageCodes: Readonly<Record<string, VerifyErrorCode>> = {
    [cluster.sharedFileStorageDir]: "ENODESHAREDFILESTORAGEPATHUNUSABLE",
    [cluster.fileStorageDir]: "ENODEFILESTORAGEPATHUNUSABLE",
    [cluster.glusterStorageDir]: "ENODEGLUSTERSTORAGEPATHUNUSABLE",
  };
  const found = verified.problems
    // A hypervisor that nobody uses may be broken.
    .filter(
      ({ check: kind, item }) => kind !== "hypervisor" || cluster.enabledHypervisors.some((name) => name === item),
    )
    .map(({ check: kind, item, problem }) => {
      const code = kind === "file-storage" ? storageCodes[item] : CODES[kind];
      const words = WORDS[kind];
      return check(code ?? "ENODESETUP", false, `${words === undefined ? "" : `${words} `}${item}: ${problem}`);
    });
  const codes = [...Object.values(CODES), ...Object.values(storageCodes)];
  const clean = codes.filter((code) => found.every((each) => each.code !== code));
  return [...found, ...clean.map((code) => check(code, true, "nothing is wrong"))];
}

function lvmChecks(view: ConfigView, node: Node, { state, volumes }: NodeAnswers): readonly Check[] {
  const group = view.cluster.volumeGroupName;
  if (volumes === null) return [];
  const present = state.storage.some(({ type, name }) => type === "lvm-vg" && name === group);
  const check = checkOf(node);
  return [
    check("ENODELVM", present, `volume group '${group}' missing`),
    ...sharedPhysicalVolumes(view, node, volumes).map((problem) => check("ENODELVM", false, problem)),
    ...orphanVolumes(view, node, volumes).map(
      (volume): Check => ({ ...check("ENODEORPHANLV", false, `volume ${volume} is unknown`), severity: "warning" }),
    ),
  ];
}

/** Where each disk is to have physical volumes of its own, those that several volumes lie on. */
function sharedPhysicalVolumes(
  view: ConfigView,
  { uuid }: Node,
  volumes: NonNullable<NodeAnswers["volumes"]>,
): readonly string[] {
  if (!hasExclusiveStorage(view, uuid)) return [];
  const users = new Map<string, string[]>();
  for (const { volumeGroup, name, devices } of volumes)
    for (const device of new Set(devices)) users.set(device, [...(users.get(device) ?? []), `${volumeGroup}/${name}`]);
  return [...users]
    .filter(([, names]) => names.length > 1)
    .map(([device, names]) => `PV ${device} is shared among unrelated LVs (${names.join(", ")})`);
}

/** Volumes of the cluster's group that are neither reserved nor of a disk that has its place on the node. */
function orphanVolumes(
  view: ConfigView,
  { uuid }: Node,
  volumes: NonNullable<NodeAnswers["volumes"]>,
): readonly string[] {
  const { volumeGroupName, reservedLvs } = view.cluster;
  const known = new Set([...view.disks.values()].filter(({ nodes }) => nodes.includes(uuid)).flatMap(volumesOf));
  const reserved = reservedLvs.map(reservedVolumes);
  return volumes
    .filter(({ volumeGroup }) => volumeGroup === volumeGroupName)
    .map(({ volumeGroup, name }) => `${volumeGroup}/${name}`)
    .filter((volume) => !known.has(volume) && !reserved.some((matches) => matches(volume)));
}

function drbdChecks(view: ConfigView, node: Node, { drbd }: NodeAnswers): readonly Check[] {
  if (drbd === null) return [];
  const check = checkOf(node);
  if (drbd.problem !== "") return [check("ENODEDRBD", false, `DRBD cannot be used: ${drbd.problem}`)];
  const { drbdUsermodeHelper: helper } = view.cluster;
  const minors = minorsOf(view, node.uuid);
  const unknown = drbd.minors.filter((minor) => !minors.has(minor));
  const idle = [...minors].filter(([minor, { isActive }]) => isActive && !drbd.minors.includes(minor));
  return [
    check(
      "ENODEDRBDHELPER",
      helper === "" || drbd.usermodeHelper === helper,
      `wrong drbd usermode helper: ${drbd.usermodeHelper}`,
    ),
    ...unknown.map((minor) => check("ENODEDRBD", false, `unallocated drbd minor ${minor} is in use`)),
    ...idle.map(([minor, { instance }]) =>
      check("ENODEDRBD", false, `drbd minor ${minor} of instance ${instance} is not active`),
    ),
  ];
}

function minorsOf(view: ConfigView, node: NodeUuid) {
  const minors = new Map<number, { readonly instance: string; readonly isActive: boolean }>();
  for (const instance of [...view.primaryInstances(node), ...view.secondaryInstances(node)])
    for (const disk of view.disksOf(instance).filter(({ template }) => template === "drbd")) {
      const { nodes, minors: own } = drbdIdOf(disk);
      const minor = own[nodes[0] === node ? 0 : 1];
      minors.set(minor, { instance: instance.name, isActive: instance.disksActive });
    }
  return minors;
}
