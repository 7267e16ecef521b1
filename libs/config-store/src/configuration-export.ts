/** A whole configuration as one text: the copy that master candidates keep, from which a cluster can be rebuilt. */
import { ConfigurationError } from "@gannet/errors";
import { type ConfigView, ENTITY_SCHEMAS } from "@gannet/objects";
import { z } from "zod";
import { type ConfigRows, rowsOf } from "./config-rows.ts";

/** Raised when the form changes so that an older reader would misread it. */
const FORMAT_VERSION = 1;

/** A configuration with the serial that it had. */
export interface ExportedConfiguration {
  readonly serial: number;
  /** How far the cluster was beside its configuration; undefined in exports that do not say. */
  readonly marks: ExportMarks | undefined;
  readonly rows: Required<ConfigRows>;
}

/** What a rebuilt cluster has to go on above: nodes have seen this leader's epoch, and these jobs. */
const exportMarks = z.object({
  epoch: z.int().nonnegative(),
  /** The last id given out. */
  lastJob: z.int().nonnegative(),
  /** When that was, in seconds since 1970. */
  time: z.number(),
});
export type ExportMarks = Readonly<z.infer<typeof exportMarks>>;

const exported = z.object({
  version: z.literal(FORMAT_VERSION),
  serial: z.int().positive(),
  marks: exportMarks.optional(),
  cluster: ENTITY_SCHEMAS.cluster,
  nodes: z.array(ENTITY_SCHEMAS.node),
  groups: z.array(ENTITY_SCHEMAS.nodegroup),
  networks: z.array(ENTITY_SCHEMAS.network),
  instances: z.array(ENTITY_SCHEMAS.instance),
  disks: z.array(ENTITY_SCHEMAS.disk),
  filters: z.array(ENTITY_SCHEMAS.filter),
  /** Exports from before there were tokens have none. */
  tokens: z.array(ENTITY_SCHEMAS.token).default([]),
});

/**
 * JSON `{version, serial, marks, cluster, nodes, groups, networks, instances, disks, filters, tokens}`, ended by a line feed.
 * Equal configurations give equal texts. It holds private OS parameters: write it with mode 0600.
 */
export function exportConfiguration(view: ConfigView, marks?: ExportMarks): string {
  return `${JSON.stringify({ version: FORMAT_VERSION, serial: view.serial, marks, ...rowsOf(view) })}\n`;
}

/** @throws ConfigurationError when the text is no such export, or one of a later version */
export function parseConfiguration(text: string): ExportedConfiguration {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ConfigurationError("Not an exported configuration: it is not JSON", { cause });
  }
  const parsed = exported.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.slice(0, 3).map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new ConfigurationError(`Not an exported configuration of version ${FORMAT_VERSION}: ${problems.join("; ")}`);
  }
  const { version: _, serial, marks, ...rows } = parsed.data;
  return { serial, marks, rows };
}
