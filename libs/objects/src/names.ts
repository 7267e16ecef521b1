/** Closed sets of names that the cluster model, the opcodes and the drivers share (spec/opcodes.json, `enums`). */
import { z } from "zod";

export const HYPERVISORS = ["chroot", "fake", "kvm", "lxc", "xen-hvm", "xen-pvm"] as const;
export type HypervisorName = (typeof HYPERVISORS)[number];

export const DISK_TEMPLATES = [
  "blockdev",
  "diskless",
  "drbd",
  "ext",
  "file",
  "gluster",
  "plain",
  "rbd",
  "sharedfile",
] as const;
export type DiskTemplate = (typeof DISK_TEMPLATES)[number];

export const NIC_MODES = ["bridged", "ext", "openvswitch", "pool", "routed"] as const;
export type NicMode = (typeof NIC_MODES)[number];

export const ADMIN_STATES = ["up", "down", "offline"] as const;
export type AdminState = (typeof ADMIN_STATES)[number];

export const ADMIN_STATE_SOURCES = ["admin", "user"] as const;
export type AdminStateSource = (typeof ADMIN_STATE_SOURCES)[number];

export const ALLOC_POLICIES = ["preferred", "last_resort", "unallocable"] as const;
export type AllocPolicy = (typeof ALLOC_POLICIES)[number];

export const TAG_KINDS = ["cluster", "instance", "network", "node", "nodegroup"] as const;
export type TagKind = (typeof TAG_KINDS)[number];

export const STORAGE_TYPES = [
  "blockdev",
  "diskless",
  "ext",
  "file",
  "gluster",
  "lvm-pv",
  "lvm-vg",
  "rados",
  "sharedfile",
] as const;
export type StorageType = (typeof STORAGE_TYPES)[number];

/** A UUID that names a node; lock names and references use it, never the node's name. */
export type NodeUuid = string & { readonly __brand: "NodeUuid" };
export type GroupUuid = string & { readonly __brand: "GroupUuid" };
export type InstanceUuid = string & { readonly __brand: "InstanceUuid" };
export type NetworkUuid = string & { readonly __brand: "NetworkUuid" };
export type DiskUuid = string & { readonly __brand: "DiskUuid" };

const uuid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
export const nodeUuid = uuid.transform((v) => v as NodeUuid);
export const groupUuid = uuid.transform((v) => v as GroupUuid);
export const instanceUuid = uuid.transform((v) => v as InstanceUuid);
export const networkUuid = uuid.transform((v) => v as NetworkUuid);
export const diskUuid = uuid.transform((v) => v as DiskUuid);
