/** Disks and network interfaces, and changes of them (spec/opcodes.json, `types`). */
import { DISK_TEMPLATES } from "@gannet/objects";
import { z } from "zod";
import { DISK_ACCESS_MODES, MODIFICATIONS, SIMPLE_MODIFICATIONS } from "../enums.ts";
import { line, nonEmptyLine, nonNegative } from "./basic.ts";
import { hostName } from "./names.ts";
import { positiveSize } from "./sizes.ts";

/** One network interface as a client describes it. Null says the same as absence. */
export const nicParams = z.strictObject({
  bridge: nonEmptyLine.nullish(),
  ip: line.nullish(),
  link: nonEmptyLine.nullish(),
  mac: nonEmptyLine.nullish(),
  mode: nonEmptyLine.nullish(),
  name: nonEmptyLine.nullish(),
  network: nonEmptyLine.nullish(),
  vlan: line.nullish(),
});
export type NicParams = z.output<typeof nicParams>;

const EXT_PARAM_KEY = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const extstorageValue = z.union([nonEmptyLine, z.int()], { error: "must be text or a whole number" });

/**
 * One disk as a client describes it; `size` is in MiB once parsed. Keys that are not among these go to the
 * disk's external storage provider.
 */
export const diskParams = z
  .object({
    size: positiveSize.optional(),
    mode: z.enum(DISK_ACCESS_MODES).optional(),
    adopt: nonEmptyLine.optional(),
    vg: nonEmptyLine.optional(),
    metavg: nonEmptyLine.optional(),
    name: nonEmptyLine.optional(),
    provider: nonEmptyLine.optional(),
    spindles: z.int().optional(),
    access: nonEmptyLine.optional(),
    dev_type: z.enum(DISK_TEMPLATES).optional(),
  })
  .catchall(extstorageValue)
  .superRefine((disk, ctx) => {
    for (const key of Object.keys(disk).filter((k) => !EXT_PARAM_KEY.test(k)))
      ctx.addIssue({ code: "custom", path: [key], message: "must be named by letters, digits, '_', '.' and '-'" });
  });
export type DiskParams = z.output<typeof diskParams>;

/** Which disk of an instance; as digits where it is a part of a path. */
export const diskIndex = z.preprocess(
  (given) => (typeof given === "string" && /^\d{1,6}$/.test(given) ? Number(given) : given),
  z.int().min(0).max(15),
);

/** Disks of an instance as a list, or as text `"0,2"`, which the query argument of older clients is. */
export const diskIndexes = z.preprocess(
  (given) => (typeof given === "string" ? given.split(",").filter((part) => part !== "") : given),
  z.array(diskIndex),
);

/** An entry of a list of NICs or disks: its index (-1: the last, or after the last), name or UUID. */
const position = z.union([z.int().min(-1), nonEmptyLine], {
  error: "must be an index of at least -1, a name or a UUID",
});

/**
 * Changes of a list of NICs or disks, each `[operation, position, settings]`. The older form `["add", {…}]`,
 * `["remove", {…}]`, `[index, {…}]` is accepted and answered in the newer one; a list holds one form only.
 */
export function modifications<Settings extends z.ZodType>(settings: Settings) {
  return z.preprocess(
    upgradeModifications,
    z.array(
      z.tuple([z.enum(MODIFICATIONS), position, settings], { error: "must be a list [operation, position, settings]" }),
    ),
  );
}

function upgradeModifications(given: unknown): unknown {
  if (!Array.isArray(given) || !given.every(isSimpleModification)) return given;
  return given.map(([what, settings]) =>
    typeof what === "number" ? ["modify", what, settings] : [what, -1, settings],
  );
}

function isSimpleModification(given: unknown): given is readonly [string | number, unknown] {
  if (!Array.isArray(given) || given.length !== 2) return false;
  const what: unknown = given[0];
  return typeof what === "number" ? what >= 0 : (SIMPLE_MODIFICATIONS as readonly unknown[]).includes(what);
}

/** Disks to be made again, `[index, changes]` each; a bare index changes nothing. None: all of them. */
export const recreateDisks = z.array(
  z
    .union([nonNegative, z.tuple([nonNegative, diskParams])], { error: "must be a disk index or [index, settings]" })
    .transform((entry): [number, DiskParams] => (typeof entry === "number" ? [entry, {}] : entry)),
);

/** Where an export goes: a node, or for each disk `[host, port, magic, hmac, salt]` of the importing cluster. */
export const exportTarget = z.union([hostName, z.array(z.array(z.unknown()).length(5))], {
  error: "must be a node's name, or a list of [host, port, magic, hmac, salt] for each disk",
});
