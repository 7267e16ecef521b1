import { OpPrereqError } from "@gannet/errors";
import { ExtStorageDiagnose } from "@gannet/opcodes";
import { extStorageRows, RESOURCES } from "@gannet/query";
import { implement } from "../../executor/logical-unit.ts";
import { liveValuesOf } from "../../live-state/live-values.ts";

/** Rows of values in the order of the fields asked for, from what the agents have reported. */
export const extStorageDiagnose = implement(ExtStorageDiagnose, {
  locks: () => [],

  checkPrereq(_ctx, op) {
    return op.output_fields.map((name) => {
      const field = RESOURCES.extstorage.fields.get(name);
      if (field === undefined) throw new OpPrereqError(`Unknown output field '${name}'`, "wrong_input");
      return field;
    });
  },

  async exec(ctx, op, fields) {
    const rows = extStorageRows(ctx.config, liveValuesOf(ctx.live));
    const wanted = op.names.length === 0 ? rows : rows.filter((row) => op.names.includes(row.name));
    return wanted.map((row) => fields.map((field) => field.cell(row)[1]));
  },
});
