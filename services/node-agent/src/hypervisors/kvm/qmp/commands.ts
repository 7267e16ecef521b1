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

export const QMP_COMMANDS = {
  qmp_capabilities: plain(nothing),
  "query-version": plain(z.object({ qemu: qmpVersion })),
  "query-name": plain(z.object({ name: z.string().optional() })),
  "query-uuid": plain(z.object({ UUID: z.string() })),
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
} as const;

export type QmpCommandName = keyof typeof QMP_COMMANDS;
export type QmpArguments<Name extends QmpCommandName> = Exclude<(typeof QMP_COMMANDS)[Name]["arguments"], undefined>;
export type QmpAnswer<Name extends QmpCommandName> = z.output<(typeof QMP_COMMANDS)[Name]["answer"]>;

/** The arguments of a call: none where the command takes none. */
export type QmpCall<Name extends QmpCommandName> = [QmpArguments<Name>] extends [never]
  ? { readonly name: Name }
  : { readonly name: Name; readonly arguments: QmpArguments<Name> };
