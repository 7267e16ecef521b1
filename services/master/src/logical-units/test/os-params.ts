import { OpExecError } from "@gannet/errors";
import { TestOsParams } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";

/** Whether secret OS parameters arrive. Their names are told; their values, which Ganeti prints, stand nowhere. */
export const testOsParams = implement(TestOsParams, {
  locks: () => [],
  checkPrereq: () => undefined,

  async exec(ctx, op) {
    const names = Object.keys(op.osparams_secret ?? {});
    if (names.length === 0) throw new OpExecError("Opcode needs secret parameters");
    ctx.feedback.info(`Secret OS parameters: ${names.sort().join(", ")}`);
    return null;
  },
});
