/** What the driver must know of a guest after a restart of the agent, as its file in `conf/` holds it. */
import { z } from "zod";
import { guestSpecSchema } from "../guest-spec-schema.ts";
import { processIdentity } from "../process-identity.ts";
import { devicePlaces } from "./argv/device-slots.ts";

const base = {
  /** Raised when the form changes, so that an older or newer agent does not misread it. */
  version: z.literal(1),
  guest: guestSpecSchema,
  /** The machine type the guest was started with. A reboot gives it the same, also after an upgrade of qemu. */
  machine: z.string(),
  /** Where its devices are. A reboot and a migration leave them there. */
  places: devicePlaces,
};

export const runtimeRecord = z.discriminatedUnion("phase", [
  /** Written before anything of the guest exists. An agent that finds it knows that its start was cut short. */
  z.object({ ...base, phase: z.literal("starting") }),
  z.object({
    ...base,
    phase: z.literal("running"),
    process: processIdentity,
    /** How long it had run on other nodes before it came here, in seconds. */
    ranBeforeSeconds: z.number().nonnegative(),
    /** While the guest is sent to another node, and until it is known what came of it. */
    leaving: z.object({ wasRunning: z.boolean() }).exactOptional(),
  }),
  /** Its memory comes from another node. It does not run before it was told to. */
  z.object({
    ...base,
    phase: z.literal("incoming"),
    process: processIdentity,
    ranBeforeSeconds: z.number().nonnegative(),
    /** Whether it ran at the source, and shall run here. */
    wasRunning: z.boolean(),
  }),
  /** qemu ended without having been told to; what it held has been released. */
  z.object({ ...base, phase: z.literal("ended"), status: z.enum(["shutdown", "crashed"]) }),
]);
export type RuntimeRecord = z.output<typeof runtimeRecord>;
