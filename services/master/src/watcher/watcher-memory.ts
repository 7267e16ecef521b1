/** What the watcher remembers from look to look and from leader to leader; all that it tells of itself is in it. */
import type { LeaderNotes } from "@gannet/config-store";
import { z } from "zod";

/** Its name among the leader's notes. */
export const WATCHER_NOTE = "watcher";
/** Deeds that are told. */
const DEEDS_KEPT = 100;

/** Since 1970. */
const seconds = z.number();

export const DEED_ACTIONS = [
  "start",
  "note user shutdown",
  "activate disks",
  "verify disks",
  "power off",
  "fail over",
  "quiesce",
] as const;
export type DeedAction = (typeof DEED_ACTIONS)[number];

/** How often something was tried for an instance. */
const tries = z.object({
  action: z.enum(DEED_ACTIONS),
  instance: z.string(),
  count: z.int().positive(),
  lastS: seconds,
});
export type Tries = z.infer<typeof tries>;

/** Something that the watcher would do, and why it does not. */
const wait = z.object({ kind: z.enum(["cluster", "group", "instance", "node"]), name: z.string(), reason: z.string() });
export type Wait = z.infer<typeof wait>;

const deed = z.object({
  atS: seconds,
  action: z.enum(DEED_ACTIONS),
  /** Of the instance, group or node. */
  name: z.string(),
  job: z.int(),
  reason: z.string(),
});
export type Deed = z.infer<typeof deed>;

/** What was submitted, or is about to be: a leader that dies in between is followed by one that submits the same again. */
const attempt = z.object({
  /** Makes two submissions one. */
  key: z.string(),
  atS: seconds,
  /** The first of its jobs; null: not known to be submitted. */
  job: z.int().nullable(),
});
export type Attempt = z.infer<typeof attempt>;

/** A node's silence, for as long as it lasts, and what was done about it. */
const incident = z.object({
  /** Of the leader that noted it. What one leader has proven another proves anew. */
  epoch: z.int(),
  powerOff: attempt.nullable(),
  move: attempt.nullable(),
});
export type Incident = z.infer<typeof incident>;

/** A script of the site's that failed in its last round, or a node that did not run its own. */
const hookProblem = z.object({
  /** When its round began. */
  atS: seconds,
  /** Name of the node. */
  node: z.string(),
  /** Folder and name; null when none was run. */
  script: z.string().nullable(),
  /** What it printed and how it ended, or why the node did not run them. */
  problem: z.string(),
});
export type HookProblem = z.infer<typeof hookProblem>;

const watcherMemory = z.object({
  /** When it last looked; null: never. */
  lookedAtS: seconds.nullable().default(null),
  verifiedDisksAtS: seconds.default(0),
  /** Of instances that have not recovered since. */
  tries: z.array(tries).default([]),
  /** By node that is marked offline: how often what it still had was to be ended. */
  nodeTries: z.record(z.string(), z.object({ count: z.int().positive(), lastS: seconds })).default({}),
  /** By node: a change is a reboot. */
  bootIds: z.record(z.string(), z.string()).default({}),
  /** Names of instances whose disks are to be activated. */
  disksDue: z.array(z.string()).default([]),
  /** By node. */
  incidents: z.record(z.string(), incident).default({}),
  /** The site's hooks of the watcher: when the last round began, and what was wrong. */
  hooks: z.object({ roundAtS: seconds.default(0), problems: z.array(hookProblem).default([]) }).prefault({}),
  waits: z.array(wait).default([]),
  /** The newest last. */
  deeds: z.array(deed).default([]),
});
export type WatcherMemory = z.infer<typeof watcherMemory>;

/** What the last leader wrote down; nothing of it is missed where it is not readable. @throws Unavailable */
export async function recall(notes: Pick<LeaderNotes, "read">): Promise<WatcherMemory> {
  const found = watcherMemory.safeParse((await notes.read(WATCHER_NOTE)) ?? {});
  return found.success ? found.data : watcherMemory.parse({});
}

export function withDeeds(memory: WatcherMemory, deeds: readonly Deed[]): WatcherMemory {
  return { ...memory, deeds: [...memory.deeds, ...deeds].slice(-DEEDS_KEPT) };
}
