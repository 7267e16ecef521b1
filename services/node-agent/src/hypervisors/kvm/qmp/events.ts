/** The QMP events this driver listens to, with schemas of what is read from them (qemu-qmp-ref(7)). */
import { z } from "zod";

const empty = z.object({});

export const QMP_EVENTS = {
  /** `guest`: the guest itself asked for it; otherwise a signal or a monitor command did. */
  SHUTDOWN: z.object({ guest: z.boolean(), reason: z.string() }),
  POWERDOWN: empty,
  RESET: z.object({ guest: z.boolean(), reason: z.string() }),
  STOP: empty,
  RESUME: empty,
  SUSPEND: empty,
  WAKEUP: empty,
  GUEST_PANICKED: z.object({ action: z.string() }),
  BLOCK_IO_ERROR: z.object({ device: z.string(), operation: z.string(), action: z.string() }),
  /** `actual` in bytes. */
  BALLOON_CHANGE: z.object({ actual: z.int() }),
  /** The status of a migration, outgoing or incoming, is another. */
  MIGRATION: z.object({ status: z.string() }),
  /** Another pass over the memory of an outgoing one begins. */
  MIGRATION_PASS: z.object({ pass: z.int() }),
  /** The guest has let go of a device; those of its own that have no id come without one. */
  DEVICE_DELETED: z.object({ device: z.string().optional() }),
  /** The guest refuses to. */
  DEVICE_UNPLUG_GUEST_ERROR: z.object({ device: z.string().optional() }),
} as const;

export type QmpEventName = keyof typeof QMP_EVENTS;
export type QmpEventData<Name extends QmpEventName> = z.output<(typeof QMP_EVENTS)[Name]>;

export type QmpEvent = {
  [Name in QmpEventName]: { readonly name: Name; readonly data: QmpEventData<Name> };
}[QmpEventName];

/** Undefined for an event that nobody here listens to or whose data have another form. */
export function parseQmpEvent(name: string, data: unknown): QmpEvent | undefined {
  if (!isKnown(name)) return undefined;
  const parsed = QMP_EVENTS[name].safeParse(data);
  return parsed.success ? ({ name, data: parsed.data } as QmpEvent) : undefined;
}

function isKnown(name: string): name is QmpEventName {
  return Object.hasOwn(QMP_EVENTS, name);
}
