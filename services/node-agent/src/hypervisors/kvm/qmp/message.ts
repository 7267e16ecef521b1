/** What a QMP server sends, parsed once from its line (qmp-spec, section 2). */
import { HypervisorError } from "@gannet/errors";
import { z } from "zod";

export interface QmpVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
}

export type QmpMessage =
  | { readonly kind: "greeting"; readonly version: QmpVersion }
  | { readonly kind: "event"; readonly event: string; readonly data: unknown }
  | { readonly kind: "return"; readonly id: number | undefined; readonly value: unknown }
  | { readonly kind: "error"; readonly id: number | undefined; readonly class: string; readonly description: string };

export const qmpVersion = z.object({ major: z.int(), minor: z.int(), micro: z.int() });

const id = z.int().optional().catch(undefined);
const schemas = [
  z
    .object({ QMP: z.object({ version: z.object({ qemu: qmpVersion }) }) })
    .transform((m): QmpMessage => ({ kind: "greeting", version: m.QMP.version.qemu })),
  z
    .object({ event: z.string(), data: z.unknown().optional() })
    .transform((m): QmpMessage => ({ kind: "event", event: m.event, data: m.data ?? {} })),
  z
    .object({ error: z.object({ class: z.string(), desc: z.string() }), id })
    .transform((m): QmpMessage => ({ kind: "error", id: m.id, class: m.error.class, description: m.error.desc })),
  z
    .object({ return: z.unknown(), id })
    .refine((m) => "return" in m)
    .transform((m): QmpMessage => ({ kind: "return", id: m.id, value: m.return })),
] as const;
const message = z.union(schemas);

/** @throws HypervisorError when the line is no QMP message */
export function parseQmpMessage(line: string): QmpMessage {
  const parsed = message.safeParse(parseJson(line));
  if (!parsed.success) throw new HypervisorError(`The QMP monitor sent no message of its protocol: ${shortened(line)}`);
  return parsed.data;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new HypervisorError(`The QMP monitor sent a line that is no JSON: ${shortened(line)}`);
  }
}

function shortened(line: string): string {
  return JSON.stringify(line.length > 200 ? `${line.slice(0, 200)}…` : line);
}
