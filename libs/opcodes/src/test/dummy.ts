import { z } from "zod";
import { defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

const anything = (doc: string) => p.withDefault(z.unknown(), null, doc);

export const TestDummy = defineOpcode({
  id: "OP_TEST_DUMMY",
  doc: "Stand in for an opcode in tests; no logical unit performs it.",
  params: {
    result: anything("What it answers."),
    messages: anything("What it logs."),
    fail: anything("Whether it fails."),
    submit_jobs: anything("Jobs it submits."),
  },
  result: r.nothing,
  summary: null,
  rapi: [],
  cli: null,
});
