/** The object whose tags an opcode reads or changes. */
import type { ConfigChange } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import type { LockMode, LockWish } from "@gannet/locking";
import type { ConfigView, TagKind } from "@gannet/objects";

/** What tells the object: its kind, and its name for all kinds but the cluster. */
export interface TagTarget {
  readonly kind: TagKind;
  readonly name: string | null;
}

interface TaggedKind {
  /** The object's lock name, undefined when it does not exist. */
  lockName(view: ConfigView, name: string): string | undefined;
  tags(view: ConfigView, name: string): readonly string[] | undefined;
  withTags(view: ConfigView, name: string, tags: string[]): ConfigChange | undefined;
}

const KINDS: Readonly<Record<Exclude<TagKind, "cluster">, TaggedKind>> = {
  instance: {
    lockName: (view, name) => view.findInstance(name)?.name,
    tags: (view, name) => view.findInstance(name)?.tags,
    withTags(view, name, tags) {
      const row = view.findInstance(name);
      return row && { kind: "instance", put: { ...row, tags } };
    },
  },
  node: {
    lockName: (view, name) => view.findNode(name)?.uuid,
    tags: (view, name) => view.findNode(name)?.tags,
    withTags(view, name, tags) {
      const row = view.findNode(name);
      return row && { kind: "node", put: { ...row, tags } };
    },
  },
  nodegroup: {
    lockName: (view, name) => view.findGroup(name)?.uuid,
    tags: (view, name) => view.findGroup(name)?.tags,
    withTags(view, name, tags) {
      const row = view.findGroup(name);
      return row && { kind: "nodegroup", put: { ...row, tags } };
    },
  },
  network: {
    lockName: (view, name) => view.findNetwork(name)?.uuid,
    tags: (view, name) => view.findNetwork(name)?.tags,
    withTags(view, name, tags) {
      const row = view.findNetwork(name);
      return row && { kind: "network", put: { ...row, tags } };
    },
  },
};

/** The object's lock; none for the cluster (spec/locks.json, LUTagsSet). */
export function tagLocks(view: ConfigView, target: TagTarget, mode: LockMode): readonly LockWish[] {
  if (target.kind === "cluster" || target.name === null) return [];
  const name = KINDS[target.kind].lockName(view, target.name);
  return name === undefined ? [] : [{ level: target.kind, name, mode }];
}

/** @throws OpPrereqError: unknown_entity, or wrong_input when the name is missing */
export function tagsOf(view: ConfigView, target: TagTarget): readonly string[] {
  if (target.kind === "cluster") return view.cluster.tags;
  const tags = KINDS[target.kind].tags(view, requiredName(target));
  if (tags === undefined) throw unknown(target);
  return tags;
}

/** @throws OpPrereqError: unknown_entity, or wrong_input when the name is missing */
export function withTags(view: ConfigView, target: TagTarget, tags: string[]): ConfigChange {
  if (target.kind === "cluster") return { kind: "cluster", put: { ...view.cluster, tags } };
  const change = KINDS[target.kind].withTags(view, requiredName(target), tags);
  if (change === undefined) throw unknown(target);
  return change;
}

function requiredName(target: TagTarget): string {
  if (target.name === null || target.name === "")
    throw new OpPrereqError(`The name of the ${target.kind} is missing`, "wrong_input");
  return target.name;
}

function unknown(target: TagTarget): OpPrereqError {
  return new OpPrereqError(`${target.kind} '${target.name}' is not known`, "unknown_entity");
}
