/** What `/2/master` answers. */
import { z } from "zod";

const text = z.string();

export const mastersAnswer = z
  .strictObject({
    /** Node of the master that leads; null: none does at this moment. */
    leader: text.nullable(),
    /** Grows with each change of the leader; null without one. */
    epoch: z.int().nullable(),
    masters: z.array(
      z.strictObject({
        /** Its node. */
        name: text,
        role: z.enum(["leader", "standby"]),
        /** `host:port` of its remote API. */
        address: text,
        version: text,
        /** Of the configuration that it knows. */
        configuration_serial: z.int(),
        /** How many changes of the configuration the master that answers knows and this one does not. */
        behind: z.int(),
        /** Seconds since it last said that it is there. */
        silent: z.number(),
        health: z.enum(["ok", "behind", "silent"]),
      }),
    ),
  })
  .meta({ id: "Masters", description: "Which master leads, and which stand by." });

export const masterFailoverAnswer = z.strictObject({ leader: text, epoch: z.int() });
