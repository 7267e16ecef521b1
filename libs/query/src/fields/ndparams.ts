/** The fields `ndp/…` of nodes and groups: one for each node parameter. */
import type { Parameters } from "@gannet/objects";
import { NODE_PARAMETERS } from "@gannet/objects";
import type { Field } from "../field.ts";
import { stored } from "../field.ts";
import { kindOfParameter } from "./parameter-kind.ts";

const TITLES: Readonly<Record<string, string>> = {
  exclusive_storage: "ExclusiveStorage",
  oob_program: "OutOfBandProgram",
  ovs: "OpenvSwitch",
  ovs_link: "OpenvSwitchLink",
  ovs_name: "OpenvSwitchName",
  spindle_count: "SpindleCount",
};

export function ndparamFields<Row>(ndparams: (row: Row) => Parameters): readonly Field<Row>[] {
  return Object.entries(NODE_PARAMETERS).map(([name, { type, doc }]) =>
    stored(
      `ndp/${name}`,
      TITLES[name] ?? `ndp/${name}`,
      kindOfParameter(type),
      doc,
      (row) => ndparams(row)[name] ?? null,
    ),
  );
}
