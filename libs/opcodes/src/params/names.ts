/**
 * Names of things. They end in paths, command lines and lock names, so what could mean something else there
 * (`..`, `/`, a leading `-`, spaces, NUL) is stopped here.
 */
import { z } from "zod";
import { line, optional, optionalList, required } from "./basic.ts";

const LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})";
const HOST_NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*\\.?$`);

/**
 * A host name (RFC 1123, and `_`): labels of at most 63 characters, 255 in all. Answered in lower case and
 * without the dot that may end it. A short name and a UUID are host names too, so references fit.
 */
export const hostName = z
  .string()
  .min(1)
  .max(255)
  .regex(HOST_NAME, {
    error:
      "must be a host name: labels of at most 63 letters, digits, '-' and '_', none beginning with '-', joined by '.'",
  })
  .transform((name) => name.toLowerCase().replace(/\.$/, ""));

/** The name of a group or network: a part of a resource's path as it stands. */
export const plainName = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, {
    error: "must be a name: a letter or digit, then letters, digits, '_', '.' and '-'",
  });

/** The name of an OS with its variant (`debootstrap+default`), or of a script: a file's name on the nodes. */
export const fileName = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/, {
    error: "must be a name: a letter, digit or '_', then letters, digits, '_', '.', '+' and '-'",
  });

/** A path. Parts that are `..` have no place in one; below which folder it must lie is checked where it is used. */
export const path = z
  .string()
  .min(1)
  .max(4_095)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: keeping them out is what this is for
  .regex(/^(?!-)(?!(?:.*\/)?\.\.(?:\/|$))[^\u0000-\u001f\u007f]+$/, {
    error: "must be a path without '..', control characters or a leading '-'",
  });

/** An absolute path, or nothing. */
export const absolutePathOrEmpty = z.union([z.literal(""), path.startsWith("/")], {
  error: "must be an absolute path without '..', or empty",
});

/** An LVM volume group, or nothing. */
export const volumeGroupOrEmpty = z.string().regex(/^(?:[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126})?$/, {
  error: "must be a volume group's name, or empty",
});

/** A network interface of Linux, or nothing. */
export const netdevOrEmpty = z.string().regex(/^(?:[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14})?$/, {
  error: "must be a network interface's name, or empty",
});

const uuidText = z
  .string()
  .regex(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, { error: "must be a UUID" })
  .transform((value) => value.toLowerCase());

export const instanceName = required(hostName, "The instance: its name, short name or UUID.");
export const newInstanceName = required(hostName, "Name of the new instance.");
export const nodeName = required(hostName, "The node: its name, short name or UUID.");
export const groupName = required(plainName, "The node group: its name or UUID.");
export const newGroupName = required(plainName, "Name of the new node group.");
export const networkName = required(plainName, "The network: its name or UUID.");
export const newNetworkName = required(plainName, "Name of the new network.");

/** What stands beside each name: the same thing by UUID. The logical unit fills it from the name. */
export const uuid = optional(uuidText, "UUID of the same object; where both are given they must agree.");
export const uuids = optionalList(uuidText, "UUIDs of the same objects; where both are given they must agree.");

/** Of what has tags: a host, a group or a network; the cluster is not named. */
export const taggedName = optional(
  z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/, { error: "must be a name" }),
  "The object's name.",
);

/** A tag as submitted; its length and the rest of its rules are the logical unit's, whose error is a `TagError`. */
export const tag = line;
