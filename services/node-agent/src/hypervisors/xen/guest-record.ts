/** What the driver must know of a guest after a restart of the agent. */
import { z } from "zod";
import { guestSpecSchema } from "../guest-spec-schema.ts";

const base = {
  /** Raised when the form changes, so that an older or newer agent does not misread it. */
  version: z.literal(1),
  guest: guestSpecSchema,
};

export const guestRecord = z.discriminatedUnion("phase", [
  /** Written before anything of the guest exists. An agent that finds it knows that its start was cut short. */
  z.object({ ...base, phase: z.literal("starting") }),
  /** On its way here from another node, which finds the agent's next life listening at the same port. */
  z.object({
    ...base,
    phase: z.literal("arriving"),
    startedAtMs: z.int(),
    sourceNode: z.string(),
    address: z.string(),
    port: z.int(),
  }),
  /** Sent to another node, and not yet finished here: its domain is gone. */
  z.object({ ...base, phase: z.literal("left") }),
  /** Its memory is in a file, from which it can go on; it has no domain. */
  z.object({ ...base, phase: z.literal("saved"), startedAtMs: z.int() }),
  z.object({
    ...base,
    phase: z.literal("running"),
    domainId: z.int(),
    /** Of its boot, in milliseconds since 1970: Xen's list does not tell. */
    startedAtMs: z.int(),
    /** Written before it is begun to send it to another node, or to save it, until it is known whether it has gone. */
    leaving: z.enum(["sent", "saved"]).nullable().default(null),
  }),
]);
export type GuestRecord = z.output<typeof guestRecord>;
export type ArrivingRecord = GuestRecord & { readonly phase: "arriving" };
export type SavedRecord = GuestRecord & { readonly phase: "saved" };
export type RunningRecord = GuestRecord & { readonly phase: "running" };
