/**
 * The QMP commands this driver uses: their arguments as types, their answers as schemas of what is read from them
 * (qemu-qmp-ref(7)). To use another command, add its line.
 */
import { z } from "zod";
import { qmpVersion } from "./message.ts";

interface QmpCommand<Arguments, Answer> {
  readonly answer: z.ZodType<Answer>;
  /** Exists at type level only. */
  readonly arguments?: Arguments;
}

const nothing = z.unknown().transform(() => undefined);

/** A command without arguments. */
function plain<Answer>(answer: z.ZodType<Answer>): QmpCommand<undefined, Answer> {
  return { answer };
}

function taking<Arguments>(): <Answer>(answer: z.ZodType<Answer>) => QmpCommand<Arguments, Answer> {
  return (answer) => ({ answer });
}

/** Sizes in bytes, times in milliseconds. `status` is absent before the first migration. */
const migrationStatus = z.object({
  status: z.string().optional(),
  ram: z
    .object({
      transferred: z.number().nonnegative(),
      total: z.number().nonnegative(),
      "dirty-sync-count": z.int().nonnegative(),
    })
    .optional(),
  downtime: z.number().nonnegative().optional(),
  "error-desc": z.string().optional(),
  /** Where an incoming one is waited for. */
  "socket-address": z.array(z.object({ type: z.string(), port: z.string().optional() })).optional(),
});

export interface MigrationCapability {
  readonly capability: string;
  readonly state: boolean;
}

/** Those that this driver sets. An empty text unsets. */
export interface MigrationParameters {
  /** In bytes a second. */
  readonly "max-bandwidth"?: number;
  readonly "max-postcopy-bandwidth"?: number;
  /** In milliseconds. */
  readonly "downtime-limit"?: number;
  readonly "tls-creds"?: string;
  readonly "tls-hostname"?: string;
  readonly "tls-authz"?: string;
}

/** What is said of a device or a network backend, in the form that its `-device` or `-netdev` takes as JSON. */
type DeviceArguments = Readonly<Record<string, unknown>>;

export const QMP_COMMANDS = {
  qmp_capabilities: plain(nothing),
  "query-version": plain(z.object({ qemu: qmpVersion })),
  "query-name": plain(z.object({ name: z.string().optional() })),
  "query-uuid": plain(z.object({ UUID: z.string() })),
  /** Whether the guest runs under KVM. */
  "query-kvm": plain(z.object({ enabled: z.boolean() })),
  "query-status": plain(z.object({ status: z.string(), running: z.boolean() })),
  /** One entry a virtual processor; `thread-id` is what can be pinned. */
  "query-cpus-fast": plain(z.array(z.object({ "cpu-index": z.int(), "thread-id": z.int() }))),
  /** `actual` in bytes. Refused when the guest has no balloon device. */
  "query-balloon": plain(z.object({ actual: z.int() })),
  /** `value` in bytes: what the guest shall keep. */
  balloon: taking<{ readonly value: number }>()(nothing),
  "query-block": plain(z.array(z.object({ device: z.string(), qdev: z.string().optional() }))),
  set_password: taking<{ readonly protocol: "vnc" | "spice"; readonly password: string }>()(nothing),
  stop: plain(nothing),
  cont: plain(nothing),
  /** Press the guest's ACPI power button. */
  system_powerdown: plain(nothing),
  system_reset: plain(nothing),
  quit: plain(nothing),

  "query-migrate": plain(migrationStatus),
  "query-migrate-capabilities": plain(z.array(z.object({ capability: z.string(), state: z.boolean() }))),
  "migrate-set-capabilities": taking<{ readonly capabilities: readonly MigrationCapability[] }>()(nothing),
  "migrate-set-parameters": taking<MigrationParameters>()(nothing),
  /** `uri` as of `-incoming`. */
  "migrate-incoming": taking<{ readonly uri: string }>()(nothing),
  migrate: taking<{ readonly uri: string }>()(nothing),
  migrate_cancel: plain(nothing),
  "migrate-start-postcopy": plain(nothing),

  "object-add": taking<{ readonly "qom-type": string; readonly id: string; readonly [property: string]: unknown }>()(
    nothing,
  ),
  "object-del": taking<{ readonly id: string }>()(nothing),
  /** What is below a path of qemu's object model; `/machine/peripheral` holds the devices that have an id. */
  "qom-list": taking<{ readonly path: string }>()(z.array(z.object({ name: z.string(), type: z.string() }))),

  device_add: taking<DeviceArguments>()(nothing),
  /** Asks the guest to let go; it has when `DEVICE_DELETED` comes. */
  device_del: taking<{ readonly id: string }>()(nothing),
  netdev_add: taking<DeviceArguments>()(nothing),
  netdev_del: taking<{ readonly id: string }>()(nothing),
  "blockdev-add": taking<Readonly<Record<string, unknown>>>()(nothing),
  "blockdev-del": taking<{ readonly "node-name": string }>()(nothing),
  /** Sent with an open file; the answer names the set that qemu has put it into. */
  "add-fd": plain(z.object({ "fdset-id": z.int() })),
  "remove-fd": taking<{ readonly "fdset-id": number }>()(nothing),
  /** `virtual-size` in bytes. */
  "query-named-block-nodes": taking<{ readonly flat: true }>()(
    z.array(
      z.object({ "node-name": z.string().optional(), image: z.object({ "virtual-size": z.number().nonnegative() }) }),
    ),
  ),
  /** `size` in bytes. */
  block_resize: taking<{ readonly "node-name": string; readonly size: number }>()(nothing),
  "blockdev-open-tray": taking<{ readonly id: string; readonly force: boolean }>()(nothing),
  "blockdev-close-tray": taking<{ readonly id: string }>()(nothing),
  "blockdev-remove-medium": taking<{ readonly id: string }>()(nothing),
  "blockdev-insert-medium": taking<{ readonly id: string; readonly "node-name": string }>()(nothing),
} as const;

export type QmpCommandName = keyof typeof QMP_COMMANDS;
export type QmpArguments<Name extends QmpCommandName> = Exclude<(typeof QMP_COMMANDS)[Name]["arguments"], undefined>;
export type QmpAnswer<Name extends QmpCommandName> = z.output<(typeof QMP_COMMANDS)[Name]["answer"]>;

/** The arguments of a call: none where the command takes none. */
export type QmpCall<Name extends QmpCommandName> = [QmpArguments<Name>] extends [never]
  ? { readonly name: Name }
  : { readonly name: Name; readonly arguments: QmpArguments<Name> };
