/** Names that people choose: hosts, groups, networks, devices and OS definitions. */
import { OpPrereqError } from "@gannet/errors";

/** A label of a host name: letters, digits, hyphens and underscores, no hyphen at its ends. */
const HOST_LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** RFC 1035, section 2.3.4, in the form that is written: 255 octets with lengths and root are 253 characters. */
const MAX_HOST_NAME_LENGTH = 253;
/** What a path of the remote API can hold (spec/rapi.json, `http.path_patterns`), within a file name's length. */
const ENTITY_NAME = /^[\w-][\w.-]{0,254}$/;
const OS_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DEVICE_NAME = /^[\w.+*/:@-]{1,128}$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * The one form of a host name: lower case, without a closing dot.
 * @throws OpPrereqError `wrong_input` when it is no host name
 */
export function normalizeHostName(name: string): string {
  const normal = name.toLowerCase().replace(/\.$/, "");
  if (normal.length > MAX_HOST_NAME_LENGTH || !normal.split(".").every((label) => HOST_LABEL.test(label)))
    throw new OpPrereqError(
      `Invalid host name ${quoted(name)}: use labels of letters, digits and hyphens, joined by dots`,
      "wrong_input",
    );
  return normal;
}

/**
 * @param kind - names what is checked in the message: "node group", "network"
 * @throws OpPrereqError `wrong_input` when the name cannot name a group or network
 */
export function checkEntityName(kind: string, name: string): void {
  if (!ENTITY_NAME.test(name))
    throw new OpPrereqError(
      `Invalid ${kind} name ${quoted(name)}: use letters, digits, '_', '-' and '.', not a dot first`,
      "wrong_input",
    );
}

/**
 * Names of disks and NICs are used beside indices and UUIDs, and so must be neither.
 * @throws OpPrereqError `wrong_input`
 */
export function checkDeviceName(name: string): void {
  if (!DEVICE_NAME.test(name) || /^[+-]?\d+$/.test(name) || UUID.test(name))
    throw new OpPrereqError(
      `Invalid device name ${quoted(name)}: use up to 128 letters, digits and any of . + * / : @ -, neither a number nor a UUID`,
      "wrong_input",
    );
}

/** A device's name as it was asked for: `none`, in any case, for a device without one (Ganeti's move-instance says `None`). */
export function askedDeviceName(asked: string | null | undefined): string | null {
  return asked == null || asked.toLowerCase() === "none" ? null : asked;
}

/** An OS as instances name it: its definition, and the variant where it has some. */
export interface OsName {
  readonly name: string;
  readonly variant: string | null;
}

/** `debian+bookworm` in its two parts. */
export function splitOsName(os: string): OsName {
  const plus = os.indexOf("+");
  return plus < 0 ? { name: os, variant: null } : { name: os.slice(0, plus), variant: os.slice(plus + 1) };
}

/**
 * Definition and variant become parts of paths and arguments, so their characters are bounded.
 * @throws OpPrereqError `wrong_input`
 */
export function parseOsName(os: string): OsName {
  const parts = splitOsName(os);
  if (!OS_NAME.test(parts.name) || (parts.variant !== null && !OS_NAME.test(parts.variant)))
    throw new OpPrereqError(`Invalid OS name ${quoted(os)}: give a definition, or definition+variant`, "wrong_input");
  return parts;
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
