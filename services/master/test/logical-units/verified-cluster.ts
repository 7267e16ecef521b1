/** A bed with two running instances in which a verification finds nothing: web1 on DRBD, db1 on one volume. */
import type { Instance } from "@gannet/objects";
import { GANNET_VERSION } from "../../src/version.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

export const WEB = "web1.gnt.test";
export const DB = "db1.gnt.test";

/** web1 is on the first two nodes, db1 on the second. */
export async function startVerifiedCluster(): Promise<LogicalUnitBed> {
  const bed = await startLogicalUnitBed({ drbdUsermodeHelper: "/bin/true" });
  const common = { mode: "create", os_type: "noop", hypervisor: "fake", nics: [{}], disks: [{ size: 1024 }] };
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ ...common, instance_name: WEB, disk_template: "drbd", pnode: NODES[0], snode: NODES[1] },
  });
  await bed.succeed("OP_INSTANCE_CREATE", { ...common, instance_name: DB, disk_template: "plain", pnode: NODES[1] });
  return bed;
}

/** All nodes answer again, and have nothing to complain of. */
export function heal(bed: LogicalUnitBed): void {
  bed.nodes.failures = [];
  bed.nodes.silent.clear();
  for (const name of NODES) {
    bed.live.apply(bed.uuidOf(name), { update: { $case: "os", value: { os: [] } } });
    bed.nodes.named(name).verification = {
      digests: [],
      problems: [],
      certificates: [],
      siteFiles: [],
      clockMs: Date.now(),
      agentVersion: GANNET_VERSION,
    };
  }
}

/** The errors and warnings of a verification's log. */
export function told(log: readonly string[]): readonly string[] {
  return log.filter((line) => /ERROR|WARNING/.test(line)).map((line) => line.trim());
}

/** Change an instance's row as no operation would. */
export async function changeInstance(bed: LogicalUnitBed, name: string, change: Partial<Instance>): Promise<void> {
  await bed.commit((view) => {
    const row = view.findInstance(name);
    return row === undefined ? [] : [{ kind: "instance", put: { ...row, ...change } }];
  });
}
