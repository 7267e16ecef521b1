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
  readonly rows: Required<ConfigRows>;
}

const exported = z.object({
  version: z.literal(FORMAT_VERSION),
  serial: z.int().positive(),
  cluster: ENTITY_SCHEMAS.cluster,
  nodes: z.array(ENTITY_SCHEMAS.node),
  groups: z.array(ENTITY_SCHEMAS.nodegroup),
  networks: z.array(ENTITY_SCHEMAS.network),
  instances: z.array(ENTITY_SCHEMAS.instance),
  disks: z.array(ENTITY_SCHEMAS.disk),
  filters: z.array(ENTITY_SCHEMAS.filter),
});

/**
 * JSON `{version, serial, cluster, nodes, groups, networks, instances, disks, filters}`, ended by a line feed.
 * Equal configurations give equal texts. It holds private OS parameters: write it with mode 0600.
 */
export function exportConfiguration(view: ConfigView): string {
  return `${JSON.stringify({ version: FORMAT_VERSION, serial: view.serial, ...rowsOf(view) })}\n`;
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
  const { version: _, serial, ...rows } = parsed.data;
  return { serial, rows };
}
