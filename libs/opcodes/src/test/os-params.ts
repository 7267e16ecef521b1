import { defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const TestOsParams = defineOpcode({
  id: "OP_TEST_OS_PARAMS",
  doc: "Try the handling of secret OS parameters.",
  params: { osparams_secret: p.osparamsSecret },
  result: r.nothing,
  summary: null,
  rapi: [],
  cli: null,
});
