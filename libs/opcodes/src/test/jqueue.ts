import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";

export const TestJqueue = defineOpcode({
  id: "OP_TEST_JQUEUE",
  doc: "Try the job queue: log messages, and fail if told to.",
  params: {
    notify_waitlock: p.flag("Tell when it waits for locks."),
    notify_exec: p.flag("Tell when it runs."),
    log_messages: p.list(p.text, "What it logs."),
    fail: p.flag("Fail at the end."),
  },
  result: z.boolean(),
  summary: null,
  rapi: [],
  cli: command("debug test-jobqueue"),
});
