/** What a disk's contents come from, as the innermost node of its `-blockdev`. */
import type { GuestDisk } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { LaunchPlan } from "../launch-plan.ts";

type BlockNode = Readonly<Record<string, unknown>>;

/** `rbd:pool/image`, or `rbd:pool/namespace/image`, with options after colons. */
const RBD = /^rbd:([^/:]+)\/(?:([^/:]+)\/)?([^/:]+)((?::[^:=]+=[^:]*)*)$/;
/** `gluster://host[:port]/volume/path`. */
const GLUSTER = /^gluster(?:\+tcp)?:\/\/(\[[0-9a-fA-F:]+\]|[^/:[\]]+)(?::(\d{1,5}))?\/([^/]+)\/(.+)$/;
const GLUSTER_PORT = "24007";
const RBD_OPTIONS: Readonly<Record<string, string>> = { id: "user", conf: "conf" };

/** @throws HypervisorError when its URI is of a kind that is not known */
export function diskSource(disk: GuestDisk, params: Pick<LaunchPlan["params"], "disk_aio">): BlockNode {
  const uri = disk.uris?.kvm;
  if (uri !== undefined) return uriSource(uri, disk);
  return {
    driver: disk.kind === "block" ? "host_device" : "file",
    filename: disk.path,
    aio: params.disk_aio,
    // Two guests that write one file destroy it; qemu then refuses to start the second.
    ...(disk.kind === "file" ? { locking: "on" } : {}),
  };
}

/** Whether the cache of this node may keep what another node could write (spec/node-ops.json, `hv.kvm.disk`). */
export function mayBeCached(disk: GuestDisk): boolean {
  return disk.seenByAllNodes !== true || (disk.uris?.kvm?.startsWith("rbd:") ?? false);
}

function uriSource(uri: string, disk: GuestDisk): BlockNode {
  const rbd = RBD.exec(uri);
  if (rbd !== null) return rbdSource(rbd);
  const gluster = GLUSTER.exec(uri);
  if (gluster !== null) return glusterSource(gluster);
  throw new HypervisorError(
    `Disk ${disk.index} is reached by ${JSON.stringify(uri)}, which is neither rbd nor gluster`,
  );
}

function rbdSource([, pool, namespace, image, options = ""]: RegExpExecArray): BlockNode {
  const given = options
    .split(":")
    .slice(1)
    .map((option) => option.split("=", 2));
  const unknown = given.find(([name = ""]) => RBD_OPTIONS[name] === undefined);
  if (unknown !== undefined) throw new HypervisorError(`The option ${unknown[0]} of a disk's rbd address is not known`);
  return {
    driver: "rbd",
    pool,
    ...(namespace === undefined ? {} : { namespace }),
    image,
    ...Object.fromEntries(given.map(([name = "", value]) => [RBD_OPTIONS[name], value])),
  };
}

function glusterSource([, host = "", port = GLUSTER_PORT, volume, path]: RegExpExecArray): BlockNode {
  return {
    driver: "gluster",
    volume,
    path,
    server: [{ type: "inet", host: host.replace(/^\[|\]$/g, ""), port }],
  };
}
